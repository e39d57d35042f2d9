# Each target does its own set-up on a bare machine; a second run starts at once.
.PHONY: demo test check parity libraries clients clients-table abuse abuse-quick aot goldens table docs bench bench-server clean

demo: ## real embeddings of real text from a real model
	@scripts/setup.sh product
	@.venv/bin/python examples/demo.py

test: check ## everything that runs without the reference libraries
	@.venv/bin/python -m pytest -n 2

check: ## style, types and spelling
	@scripts/setup.sh product
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/typos

parity: ## against the real libraries, in an environment of their own
	@scripts/setup.sh product
	@scripts/setup.sh reference
	@.venv/bin/python -m pytest -m parity

libraries: ## mteb, BERTopic, KeyBERT, evaluators and others with our SentenceTransformer in place of the real one
	@scripts/setup.sh product
	@scripts/setup.sh libraries
	@.venv/bin/python -m pytest -m libraries tests/libraries

aot: ## compiles kernels and whole models for TPU v5e, v6e, v7x and H200, on a machine that has none of them
	@scripts/setup.sh aot
	@scripts/aot.sh

goldens: ## draws tests/goldens anew from the real libraries
	@scripts/setup.sh product
	@scripts/setup.sh reference
	@.venv-reference/bin/python tests/support/reference/write_goldens.py

table: ## measures every family anew and draws the table of docs/models.md
	@scripts/setup.sh product
	@scripts/setup.sh reference
	@JAXEMBED_RECORD=1 .venv/bin/python -m pytest -m parity tests/parity/test_families.py
	@.venv/bin/python tests/support/reference/table.py

docs: ## the documentation site, into site/, with every link and every name of the API looked up
	@scripts/setup.sh docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet

clients: ## the real client libraries, unmodified, against a running server
	@scripts/setup.sh product
	@scripts/setup.sh clients
	@scripts/setup.sh clients-new
	@scripts/setup.sh clients-more
	@scripts/setup.sh clients-npm
	@.venv/bin/python -m pytest -m clients tests/clients

clients-table: ## runs them all and draws the table of docs/clients.md
	@JAXEMBED_RECORD=1 $(MAKE) clients

abuse: ## overload, failures, signals, fuzz, floods of connections, 200,000 requests: each prints its figures; an hour
	@scripts/setup.sh product
	@.venv/bin/python -m pytest -m abuse tests/abuse

abuse-quick: ## the same in two minutes
	@scripts/setup.sh product
	@JAXEMBED_ABUSE=quick .venv/bin/python -m pytest -m abuse tests/abuse

bench: ## jaxembed and sentence-transformers in turn, on this machine
	@scripts/setup.sh product
	@scripts/setup.sh reference
	@.venv/bin/python benchmarks/offline.py

bench-server: ## what HTTP costs, and what the server can do alone
	@scripts/setup.sh product
	@.venv/bin/python benchmarks/server.py

clean: ## removes all environments and all caches
	rm -rf .venv .venv-*/ build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
