# `make` lists what can be made. Every target sets up .venv first, and finds it ready from then on.

python := .venv/bin/python
as_root := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help lab book course app test gpu marks outputs lint optimum bench bench-gpu

help:
	@echo "make lab       open the first chapter in JupyterLab"
	@echo "make book      build the web book, to be read without anything running"
	@echo "make course    slides, notes, hand-outs and an nbgrader course in build/course, for a teacher"
	@echo "make app       the sliders and the live run for a lecture hall, no code (HOST=0.0.0.0 for every visitor)"
	@echo "make test      run every test and every notebook"
	@echo "make marks     hand in two chapters as four students and have nbgrader mark them, ten to fifteen minutes"
	@echo "make outputs   run the notebooks and record their outputs (one: make outputs NB=00_what_does_dpo_do)"
	@echo "make lint      check the style of the code"
	@echo "make optimum   how near DPO comes to the exact optimum: make optimum BETA=0.7 STEPS=1500"
	@echo "make bench     speed and memory beside TRL's DPOTrainer, forty minutes and 12 GB (4 minutes: make bench QUICK=1)"
	@echo "make gpu       run the tests that need a CUDA GPU, in a minute or two"
	@echo "make bench-gpu speed and memory on a CUDA GPU beside TRL's DPOTrainer, five minutes"
	@echo "Another Python than the first one found: make lab PYTHON=/path/to/python3.12"

lab:
	@sh tools/bootstrap.sh lab
	@$(python) -m jupyterlab $(as_root) --LabApp.default_url=/lab/tree/$(wildcard notebooks/00_*.ipynb)

book:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.site

course:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.chromium
	@$(python) -m tools.course

app:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.app $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(TOKEN),--token $(TOKEN))

test:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.chromium
	@$(python) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

gpu:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m pytest -m gpu tests

marks:
	@sh tools/bootstrap.sh lab,test
	@COURSE="01_what_comparisons_tell 06_where_does_the_loss_come_from" WHOLE=1 $(python) -m pytest -q tests/course/test_grader.py

outputs:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.opening
	@$(python) -m tools.record $(NB)
	@$(python) -m tools.picture
	@$(python) -m tools.teacher

optimum:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m tools.optimum $(if $(BETA),--beta $(BETA)) $(if $(STEPS),--steps $(STEPS))

bench:
	@sh tools/bootstrap.sh lab,test
	@TQDM_DISABLE=1 $(python) -m tools.bench $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT)) $(if $(SEED),--seed $(SEED))

bench-gpu:
	@sh tools/bootstrap.sh lab,test
	@TQDM_DISABLE=1 $(python) -m tools.bench_gpu $(if $(OUT),--out $(OUT)) $(if $(SEED),--seed $(SEED))

lint:
	@sh tools/bootstrap.sh lab,test
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
