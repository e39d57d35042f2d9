"""No body, however broken, gets a 5xx, a traceback, or something else than JSON. `make clients` goes on with schemathesis."""

import json

import pytest
from fakes import FakeRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import served

JSON = {"content-type": "application/json"}
# The fields without which a route has nothing to do.
ROUTES = {
    "/v1/embeddings": ["input"],
    "/pooling": ["messages"],
    "/v2/embed": ["texts"],
    "/v1/embed": ["inputs"],
    "/score": ["text_1", "text_2"],
    "/rerank": ["query", "documents"],
    "/tokenize": ["messages"],
    "/detokenize": ["tokens"],
    "/embed": ["inputs"],
    "/embed_all": ["inputs"],
    "/similarity": ["inputs"],
    "/decode": ["ids"],
    "/": ["inputs"],
    "/invocations": [],
    "/api/embed": ["input"],
    "/api/embeddings": ["prompt"],
    "/infinity/embeddings": ["input"],
    "/infinity/rerank": ["query", "documents"],
}
FIELDS = """model input inputs texts images messages query queries documents items data_1 data_2 text_1 text_2 prompt tokens
ids input_type embedding_types truncate max_tokens output_dimension dimensions encoding_format embed_dtype endianness top_n task
data truncate_prompt_tokens truncation_side truncation_direction padding add_special_tokens priority cache_salt user request_id
normalize use_activation prompt_name chat_template chat_template_kwargs add_generation_prompt continue_final_message parameters
max_tokens_per_doc max_tokens_per_query return_documents return_text return_token_strs mm_processor_kwargs
options keep_alive""".split()
KINDS = [None, "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff"]


@pytest.fixture(scope="module")
def client(llm):
    with served(llm, runner=FakeRunner(table=llm.engine.table), chat_template="{{ messages | tojson }}") as client:
        yield client


def check(client, route: str, body: bytes, headers=JSON) -> int:
    answer = client.post(route, content=body, headers=headers)
    assert answer.status_code < 500, (route, body[:200], answer.text[:500])
    assert "Traceback" not in answer.text
    if answer.headers["content-type"] != "application/octet-stream":
        json.loads(answer.content)
    return answer.status_code


BODIES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "half": b'{"input": "a',
    "zero bytes": b"\x00" * 10,
    "invalid utf-8": b'{"input": "\xff\xfe"}',
    "lone surrogate": b'{"input": "\\ud800", "texts": ["\\ud800"], "inputs": "\\udfff"}',
    "not a number": b'{"input": NaN}',
    "infinity": b'{"input": "a", "inputs": "a", "dimensions": 1e999}',
    "huge number": b'{"input": ' + b"9" * 5000 + b"}",
    "2 to the 64": b'{"input": [18446744073709551615], "tokens": [18446744073709551615], "ids": [18446744073709551615]}',
    "deep lists": b'{"input": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deep objects": b'{"chat_template_kwargs": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "deeper than any parser": b"[" * 100_000,
    "two thousand texts": json.dumps({name: ["a"] * 2048 for name in ("input", "texts", "documents")}).encode(),
    "five thousand texts": json.dumps({name: ["a"] * 5000 for name in ("input", "texts", "documents", "inputs")}).encode(),
    "one long text": json.dumps(dict.fromkeys(("input", "inputs", "prompt", "query"), "word " * 50000)).encode(),
    "one long word": json.dumps(dict.fromkeys(("input", "inputs", "prompt", "query"), "w" * 200000)).encode(),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_broken_body_is_the_clients_error(client, route, body):
    check(client, route, body)


@pytest.mark.parametrize("route", ROUTES)
def test_zero_characters_are_text_like_any_other(client, route):
    texts = {"input": "a\x00b", "texts": ["a\x00b"], "inputs": "a\x00b", "prompt": "\x00", "text_1": "\x00", "text_2": "\x00"}
    check(client, route, json.dumps(texts).encode())
    assert check(client, "/v1/embeddings", b'{"input": "a\\u0000b"}') == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff"],
)
def test_a_wrong_content_type_is_415(client, route, kind):
    headers = {} if kind is None else {"content-type": kind.encode("latin-1")}
    assert check(client, route, b'{"input": "a"}', headers) == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"])
def test_json_by_other_spellings_is_json(client, kind):
    assert check(client, "/v1/embeddings", b'{"input": "a"}', {"content-type": kind}) == 200


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["float", "base64", "bytes", "int8", "binary", "END", "NONE", "left", "token_embed", "search_query", "user"]
    ),
)
messages = st.fixed_dictionaries({}, optional={"role": scalars, "content": scalars, "type": scalars, "text": scalars})
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "url", "sentences", "source_sentence", "prompt"]), inner
        ),
        st.lists(messages, max_size=3),
        st.lists(st.integers(0, 30521), max_size=4),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(main=st.lists(values, min_size=2, max_size=2), more=st.dictionaries(st.sampled_from(FIELDS), values, max_size=4))
def test_random_bodies_of_known_fields_are_answered(client, route, main, more):
    body = {**more, **dict(zip(ROUTES[route], main, strict=False))}
    check(client, route, json.dumps(body).encode())
