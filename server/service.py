"""From a request's texts to vectors: names, prompts and limits checked, tokenized off the event loop, queued, awaited.

Knows the engine and the scheduler, and nothing of routes or of what answers look like.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxembed.engine.finite import not_finite
from jaxembed.engine.pipeline import Runner
from jaxembed.engine.queue import Job
from jaxembed.engine.scheduler import Scheduler, settle
from jaxembed.errors import CheckpointError, EngineError, InputError, JaxEmbedError, NonFiniteError
from jaxembed.heads.task import Task
from jaxembed.heads.vectors import EMBED
from jaxembed.inputs.chat import ChatTemplate
from jaxembed.inputs.encoder import Encoder
from jaxembed.inputs.prompts import Prompt, Tokenization
from jaxembed.packing.text import Options, Text
from jaxembed.server.errors import HttpError
from jaxembed.server.settings import Settings
from jaxembed.server.threads import Threads
from jaxembed.server.windows import joined, windows
from jaxembed.vllm.llm import LLM
from jaxembed.vllm.params import PoolingParams

# Up to so many characters are tokenized where they are: the hop to a thread and back costs more. Two cores of a Xeon:
# MiniLM's tokenizer takes 0.1 ms for 500 characters, a hop under load 0.2 to 1 ms.
INLINE_CHARACTERS = 1500
# Texts have at least one token for so many characters, near enough to refuse an overload before it is tokenized.
_CHARACTERS_PER_TOKEN = 8
# Clients whose token ids are most likely of a tokenizer of OpenAI's: its own package, which langchain uses, and langchain.
_FOREIGN_IDS = ("openai/python", "langchain")
# Token ids that are made a text again in one go, at least.
_MOST_DECODED = 100_000
# Answers of up to so many numbers are written where they are, in some milliseconds.
_INLINE_VALUES = 1 << 16
# Requests that take longer than this are worth a task that notices when the client hangs up.
_WATCH_AFTER_SECONDS = 0.05

logger = logging.getLogger("jaxembed.server")

# Waits until the client has hung up.
Gone = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks of the model, whatever its API calls it.

    Attributes:
        prompts: texts, or token ids that need no tokenizer.
        params: what each asks of its vector.
        task: what is computed.
        options: vLLM's `tokenization_kwargs`.
        prefix: put before prompts that are texts.
        max_tokens: longer texts are an error; None for the model's length.
        cut: whether texts that are too long are cut where `options` name no length; None as the server is set.
        priority: below 0 first, above 0 later, 0 by size.
        gone: see `Gone`; None if nobody looks.
    """

    prompts: Sequence[Prompt]
    params: PoolingParams = field(default_factory=PoolingParams)
    task: Task = EMBED
    options: Mapping[str, Any] | None = None
    prefix: str = ""
    max_tokens: int | None = None
    cut: bool | None = None
    priority: int = 0
    gone: Gone | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of a request.

    Attributes:
        results: in the order of the prompts.
        lengths: tokens of each prompt, after truncation.
    """

    results: list[np.ndarray]
    lengths: list[int]

    @property
    def tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(self.lengths)

    @property
    def is_large(self) -> bool:
        """Whether it is better written off the event loop."""
        return sum(result.size for result in self.results) > _INLINE_VALUES


class Service:
    """The model that is served, with its queue. `start` it inside the event loop that its requests run in."""

    def __init__(self, llm: LLM, settings: Settings, *, runner: Runner | None = None) -> None:
        """`runner` stands in for the engine's device work, for tests and for measuring the server alone."""
        self.llm, self.settings, self.model = llm, settings, llm.engine.model
        self.recipe, self.tokenizer, self.encoder = self.model.recipe, self.model.tokenizer, self.model.encoder
        if settings.max_embed_tokens is not None and settings.max_embed_tokens < self.encoder.max_length:
            self.encoder = replace(self.encoder, max_length=settings.max_embed_tokens)
        given = settings.served_model_names or (llm.name,)
        self.names, self.task = given, llm.task
        self._known = {*given, *(name.rstrip("/").rsplit("/", 1)[-1] for name in given)}
        self.started_at = int(time.time())
        self.truncated_texts = self.nonfinite_texts = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.threads = Threads()
        self._prepared: dict[Task, asyncio.Future[None]] = {}  # but for the one that is served, warm from the start
        self._warned_of_cuts = False
        self._template = self._chat_template(settings.chat_template or self.tokenizer.chat_template)
        self._fixed_runner = runner is not None
        (probe,) = self.tokenizer.encode(["a"])
        self._probe = Text(probe[: self.model.max_length])
        self.scheduler = Scheduler(
            runner or llm.engine,
            deliver=self._deliver,
            max_queue_tokens=settings.max_queue_tokens,
            max_wait_seconds=settings.max_wait_seconds,
            max_bulk_wait_seconds=settings.max_bulk_wait_seconds,
            stall_seconds=settings.stall_seconds,
            probe=self._probe,
        )

    def start(self) -> None:
        """Starts the queue."""
        self._loop = asyncio.get_running_loop()
        self.scheduler.start()

    def stop(self) -> None:
        """Stops the queue; what is left fails."""
        self.scheduler.stop()
        self.threads.stop()

    def check_probe(self) -> None:
        """Runs a text. Raises `CheckpointError` if its numbers are not finite: no text of such a model can be answered."""
        if not_finite(list(self.llm.engine.run([self._probe], self.task))):
            raise CheckpointError(
                f"the weights of {self.names[0]} give vectors with NaN or infinite values; nothing is served."
            )

    def check_task(self, api: str, name: str) -> None:
        """Raises a 501 if what the model is served for is not what an API asks for."""
        if api not in self.task.apis:
            raise HttpError(501, f"The model does not support {name}")

    @property
    def max_length(self) -> int:
        """Tokens of the longest text that is embedded whole."""
        return self.encoder.max_length

    def check_model(self, name: str | None) -> str:
        """Returns the model's name as it was asked for. Raises a 404 for any other model's, with the names there are."""
        if name is None or name == "":
            return self.names[0]
        if name not in self._known:
            served = ", ".join(f"`{one}`" for one in self.names)
            raise HttpError(
                404,
                f"The model `{name[:200]}` does not exist. This server has {served}; --served-model-name gives it other names.",
                field="model",
            )
        return name

    def check_count(self, field: str, count: int) -> None:
        """Raises a 400 for more texts than a request may hold.

        Args:
            field: what the API calls them.
            count: how many there are.
        """
        if count > self.settings.max_items:
            raise HttpError(400, f"{field} list length {count} exceeds the limit of {self.settings.max_items}.", field=field)

    def check_answer(self, values: int, what: str) -> None:
        """Raises a 400 for an answer of more numbers than one may hold.

        Args:
            values: how many there would be.
            what: says what they are the numbers of.
        """
        most = self.settings.max_answer_values
        if values > most:
            raise HttpError(
                400,
                f"The answer would hold {values} numbers for {what} and may hold {most} (--max-answer-values). "
                "Send fewer or shorter texts in one request.",
            )

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Returns the text of ids. Raises a 400 for an id that the tokenizer does not have, and for too many."""
        # The tokenizer holds the interpreter meanwhile: 0.7 s for a million ids.
        most = max(self.max_length, _MOST_DECODED)
        if len(ids) > most:
            raise HttpError(400, f"{len(ids)} token ids are too many for one text, which may have {most}.", field="tokens")
        found = np.asarray(ids, np.int64)
        wrong = found[(found < 0) | (found >= self.tokenizer.vocab_size)]
        if wrong.size:
            raise HttpError(400, f"Token id {wrong[0]} is out of vocabulary", field="tokens")
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def check_ids(self, prompts: Sequence[Prompt], agent: str) -> None:
        """Raises `InputError` for token ids where they are switched off, or most likely another tokenizer's.

        Args:
            prompts: what is to be embedded.
            agent: the client, as it calls itself.
        """
        if self.settings.token_ids or all(isinstance(prompt, str) for prompt in prompts):
            return
        if self.settings.token_ids is False:
            raise InputError("This server takes texts only, no token ids (--no-token-ids).", field="prompts")
        if any(name in agent.lower() for name in _FOREIGN_IDS):
            raise InputError(
                f"Token ids from {agent[:80]!r} are refused: langchain's OpenAIEmbeddings sends those of another tokenizer, "
                "which give wrong vectors. Send texts (langchain: check_embedding_ctx_length=False), or start the server "
                "with --token-ids if the ids are of this model's tokenizer.",
                field="prompts",
            )

    def prompt(self, name: str | None) -> str:
        """Returns the checkpoint's prompt of that name, "" for None. Raises `InputError` with the names there are."""
        if name is None:
            return ""
        if name not in self.recipe.prompts:
            known = f"it has {', '.join(self.recipe.prompts)}" if self.recipe.prompts else "it has none"
            raise InputError(f"the model has no prompt named {name!r}; {known}.", field="prompt_name")
        return self.recipe.prompts[name]

    @property
    def template(self) -> ChatTemplate | None:
        """The template of the server or of the checkpoint."""
        return self._template

    def chat_template(self, from_request: str | None) -> ChatTemplate:
        """Returns the template for a request. Raises `InputError` for one that is not trusted, and if there is none."""
        if from_request is not None:
            if not self.settings.trust_request_chat_template:
                raise InputError(
                    "Chat template is passed with request, but --trust-request-chat-template is not set. "
                    "Refused request with untrusted chat template.",
                    field="chat_template",
                )
            template = self._chat_template(from_request)
        else:
            template = self._template
        if template is None:
            raise InputError(
                "the model has no chat template, so it takes no messages; give one with --chat-template.", field="messages"
            )
        return template

    def _chat_template(self, source: str | None) -> ChatTemplate | None:
        if source is None:
            return None
        config = self.tokenizer.config
        named = {name: token for name, token in config.items() if name.endswith("_token") and token is not None}
        tokens = {name: str(token["content"] if isinstance(token, Mapping) else token) for name, token in named.items()}
        return ChatTemplate(source, special_tokens=tokens, content_format=self.settings.chat_template_content_format)

    async def run(self, asked: Asked) -> Answer:
        """Returns the result of each prompt.

        Raises:
            HttpError: the answer would be too large, or the client has hung up.
            InputError: a prompt or an option cannot be used.
            NonFiniteError: the numbers of a prompt are not finite.
            RefusedError: the scheduler or the engine does not do it now.
        """
        task, width = asked.task, asked.params.dimensions or self.model.width
        if not task.per_token:
            values = task.values(texts=len(asked.prompts), tokens=0, width=width)
            self.check_answer(values, f"{len(asked.prompts)} texts of {width} dimensions")
        texts = await self.texts(asked, longest=None if task.per_token else self.settings.max_embed_tokens)
        if task.per_token:
            tokens = sum(len(text.ids) for text in texts)
            values = task.values(texts=len(texts), tokens=tokens, width=width)
            self.check_answer(values, f"{tokens} tokens of {width} dimensions")
        results = await self.vectors(texts, task=task, priority=asked.priority, gone=asked.gone)
        return Answer(results, [len(text.ids) for text in texts])

    async def texts(self, asked: Asked, *, longest: int | None = None) -> list[Text]:
        """Returns the prompts tokenized and checked, ready for `vectors`.

        Args:
            asked: what is asked of them.
            longest: tokens of the longest, None for the model's length; longer ones than that go through `windows` first.

        Raises:
            InputError: a prompt or an option cannot be used.
            OverloadedError: too much waits already.
        """
        params = self.llm.options(asked.params, asked.task.name)
        tokenization = self.encoder.tokenization(asked.options)
        if tokenization.cut is None and (self.settings.truncate if asked.cut is None else asked.cut):
            tokenization = replace(tokenization, cut=longest or self.max_length)
        size = sum(map(len, asked.prompts))
        # A book is cut or refused: no prompt becomes more tokens than the longest text.
        most = len(asked.prompts) * (tokenization.cut or longest or self.max_length)
        tokens, deadline = min(size // _CHARACTERS_PER_TOKEN, most), self.settings.request_timeout_seconds
        self.scheduler.admit(tokens, priority=asked.priority, deadline_seconds=deadline)
        encoder = replace(self.encoder, max_length=longest) if longest else self.encoder
        return await self.tokenizing(size > INLINE_CHARACTERS, self._texts, encoder, asked, params, tokenization)

    async def tokenizing[**P, R](self, large: bool, work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """Returns what `work` returns, which calls the tokenizer: where it is, in a thread, or apart if it may never end.

        Args:
            large: whether it is worth a thread.
            work: a function.
            arguments: of `work`.
            options: of `work`.

        Raises:
            DeadlineError: it did not end.
        """
        if self.tokenizer.tame:
            return await self.threads.run(large, work, *arguments, **options)
        return await self.rendering(work, *arguments, **options)

    async def rendering[**P, R](self, work: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """Returns what `work` returns, which fills a chat template. Raises `DeadlineError`."""
        return await self.threads.apart(self.settings.request_timeout_seconds, work, *arguments, **options)

    def encode(self, prompts: Sequence[Prompt], tokenization: Tokenization, *, values_per_token: int) -> list[np.ndarray]:
        """Returns token ids, unchecked, of texts no longer than those that are embedded. Raises as `check_answer` does."""
        found: list[np.ndarray] = []
        tokens = 0
        for _, encoded in self.encoder.ids(prompts, tokenization, bounded=True):
            tokens += sum(map(len, encoded))
            self.check_answer(tokens * values_per_token, f"{tokens} tokens")
            found += encoded
        return found

    def _texts(self, encoder: Encoder, asked: Asked, options: Options, tokenization: Tokenization) -> list[Text]:
        found = encoder.texts(asked.prompts, options, tokenization=tokenization, prefix=asked.prefix, bounded=True)
        texts = list(found)
        if asked.max_tokens is not None:
            _check_tokens(texts, asked.max_tokens)
        if tokenization.cut is not None:
            self._count_cuts(sum(len(text.ids) == tokenization.cut for text in texts), tokenization.cut)
        return texts

    def _count_cuts(self, count: int, length: int) -> None:
        self.truncated_texts += count
        if count and self.settings.truncate and not self._warned_of_cuts:
            self._warned_of_cuts = True
            logger.warning(
                "a text was cut to %d tokens (--truncate); jaxembed_truncated_texts_total in /metrics counts them all.",
                length,
            )

    async def vectors(self, texts: list[Text], *, task: Task, priority: int, gone: Gone | None) -> list[np.ndarray]:
        """Queues texts as one request and returns their results, which are finite: the one way from the engine to a route.

        Args:
            texts: of one or of several `texts`.
            task: see `Asked`, as the rest.
            priority: as there.
            gone: as there.

        Raises:
            HttpError: the client has hung up.
            NonFiniteError: the numbers of a text are not finite; its place among `texts` is named.
            RefusedError: the scheduler or the engine does not do it now.
        """
        parts = [windows(text, self.max_length) for text in texts]
        each = iter(await self._results([part for own in parts for part in own], task=task, priority=priority, gone=gone))
        results = [joined([next(each) for _ in own], own) for own in parts]
        broken = await self.threads.run(Answer(results, []).is_large, not_finite, results)
        if broken:
            self.nonfinite_texts += len(broken)
            raise NonFiniteError(broken)
        return results

    async def _results(self, texts: list[Text], *, task: Task, priority: int, gone: Gone | None) -> list[np.ndarray]:
        if task is not self.task:
            await self._prepare(task)
        assert self._loop is not None
        future: asyncio.Future[list[np.ndarray]] = self._loop.create_future()
        deadline = self.settings.request_timeout_seconds
        self.scheduler.submit(texts, future, task=task, priority=priority, deadline_seconds=deadline)
        if gone is None:
            return await future
        watching: list[asyncio.Task[None]] = []

        async def watch() -> None:
            await gone()
            future.cancel()

        timer = self._loop.call_later(_WATCH_AFTER_SECONDS, lambda: watching.append(asyncio.ensure_future(watch())))
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled() and watching and watching[0].done():
                raise HttpError(499, "The client closed the connection.") from None
            raise
        finally:
            timer.cancel()
            for task_ in watching:
                task_.cancel()

    async def _prepare(self, task: Task) -> None:
        """Compiles a program for a task that has none yet, once, while other requests go on."""
        if task not in self._prepared and not self._fixed_runner:
            assert self._loop is not None
            self._prepared[task] = self._loop.run_in_executor(None, self.llm.engine.prepare, task)
        if task in self._prepared:
            try:
                await asyncio.shield(self._prepared[task])
            except Exception as error:
                self._prepared.pop(task, None)  # the next request tries again
                if isinstance(error, JaxEmbedError):
                    raise
                logger.exception("no program for the task %s", task.name)
                message = f"The engine cannot compile a program for the task {task.name} now."
                raise EngineError(message, retry_after_seconds=5) from None

    def _deliver(self, jobs: Sequence[Job]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle, jobs)


def _check_tokens(texts: Sequence[Text], most: int) -> None:
    """Raises `InputError` for the first text that has more tokens than Cohere's `max_tokens`."""
    for index, text in enumerate(texts):
        if len(text.ids) > most:
            raise InputError(
                f"Input of {len(text.ids)} tokens exceeds max_tokens={most} with truncate=NONE. "
                "Set truncate to END or START to allow truncation.",
                field="prompts" if len(texts) > 1 else "max_tokens",
                index=index if len(texts) > 1 else None,
            )
