# SPDX-License-Identifier: Apache-2.0
#
# Everything a person types to work with HMS-ACT from a clone. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz run lint bench shell lock clean core dev

PYTHON_IN := .venv/bin/python

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# `exec` everywhere: Ctrl-C then reaches the command alone, and not a shell between it and make.

demo: core ## play the protest-permit story here: PORT=8000; AUTO=1 plays it alone and ends
	@exec $(PYTHON_IN) manage.py demo

test: dev ## all checks and tests, on SQLite and PostgreSQL: DB=sqlite narrows, as does ARGS="tests/runs -k claim"
	@exec $(PYTHON_IN) scripts/run_tests.py $(DB)

fuzz: dev ## calls that nobody thought of, on both databases: MINUTES=10; DB=sqlite narrows; SEED=1 plays one round again
	@exec $(PYTHON_IN) scripts/fuzz.py $(DB)

run: core ## web and worker in the foreground, on the database that DATABASE_URL names: PORT=8000
	@exec $(PYTHON_IN) scripts/run_server.py

lint: dev ## the checks alone: ruff, types, migrations
	@exec $(PYTHON_IN) scripts/run_tests.py checks

bench: core ## measure against floors and peers, on a PostgreSQL of its own: NAME=permit3 narrows (bench/README.md)
	@exec $(PYTHON_IN) -m bench $(NAME)

shell: core ## a Python shell with the models loaded
	@exec $(PYTHON_IN) manage.py shell

lock: core ## write the lock files anew from pyproject.toml: UPGRADE=1 takes the newest versions it allows
	@exec sh scripts/lock.sh

clean: ## forget the demonstration: the SQLite database and all else in var/ (a database at DATABASE_URL stays)
	@rm -rf var
	@echo "var/ is gone; the next 'make demo' begins anew."

core dev:
	@exec sh scripts/setup.sh $@
