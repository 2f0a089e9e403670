# Every recipe is one plain command; CONTRIBUTING.md lists them too.
.PHONY: setup demo test check sim e2e browser bench docs run quick
PY := .venv/bin/python

setup:            ## make .venv and install what is needed; safe to run twice
	@scripts/setup

demo: setup       ## three nodes on this machine talk; Ctrl-C ends it
	@.venv/bin/p2phouse demo $(ARGS)

test: setup       ## every tier that this machine can run
	@scripts/test $(ARGS)

check:            ## format, lint, types, import rules
	@scripts/check

quick:            ## the tests that take seconds
	@$(PY) -m pytest -q -m "not e2e and not browser and not slow" $(ARGS)

sim:              ## worlds of many nodes; P2PHOUSE_SEEDS=300 tries more of them
	@$(PY) -m pytest -q tests/sim $(ARGS)

e2e:              ## real processes, sockets, namespaces
	@$(PY) -m pytest -q -m e2e $(ARGS)

browser:          ## a person in Chromium joins, speaks, is heard
	@$(PY) -m pytest -q -m browser $(ARGS)

bench:            ## measure, write bench/results
	@$(PY) -m bench $(ARGS)

docs:             ## are all verbs, options, records and limits in docs/?
	@$(PY) -m pytest -q tests/test_docs.py

run:              ## a node for you
	@.venv/bin/p2phouse up $(ARGS)
