# make report     everything, from a fresh clone, up to results/rtdetr/report.md
#                 MODEL=... another model; ARGS="--config epochs=3 framework=torch" is passed on to Snakemake
# make test       every test suite and the linters
# make lint       ruff, snakefmt, snakemake --lint
# make align      the alignment ladder alone: both frameworks compared rung by rung; fails when a rung does
# make faults     planted mistakes, one by one: which rung of the ladder sees each; writes docs/faults.md; goes on where it
#                 was stopped (results/faults)
# make preview    results/$(MODEL)/preview.png: augmented training samples with their boxes
# make overfit    twenty images learnt by heart in both frameworks: results/overfit/$(MODEL)/report.md; fails if they were not
# make detect     boxes on your own images: MODEL=nanodet RUN=folder SOURCE=photos/ [OUT=detected] [CONF=0.5] [FRAMEWORKS=torch,jittor],
#                 or VARIANT=... WEIGHTS=file instead of RUN
# make export     ONNX files, compared with both frameworks: MODEL=nanodet RUN=folder, or VARIANT=... WEIGHTS=file [DATA=folder];
#                 FORMAT=onnx BATCH=any|N SIZE=any|fixed CHECK=auto|1|0 IMAGES=N OUT=...; see docs/export.md
# make validate   COCO metrics, best thresholds, confusions and cost of the final weights of one run:
#                 RUN=results/nanodet/runs/torch/...; WEIGHTS=... others; OUT=... another folder than the run's
# make watch      the runs of $(MODEL) while they are trained: one screen, or one line per epoch in a pipe; FRAMEWORKS=torch for one
# make curves     loss and AP curves of $(MODEL) again, from the logs of the runs in its report; trains nothing
# make sweep      a report for each of several numbers of training images: SIZES="50 100 500"
# make compare-logs   a report on two logs of other people: FIRST=path SECOND=path NAMES="Jittor,PyTorch" MODEL=...
#                 BATCH="1,2" IMAGES=... VAL_IMAGES=... state what the logs do not say; see docs/logs.md
# make bench      step, inference, memory and compilation: PyTorch, torch.compile, Jittor fast and stock, with intervals;
#                 MODEL=all for the four, APPEND=docs/speed.md adds the table to that page
# make reproduce  released weights on COCO's val2017 in both frameworks, nothing trained: VARIANT=plus-m_416
#                 COCO=/data/coco; WEIGHTS=file another file, IMAGES=500 a part of val2017
# make study      both frameworks trained in pairs until a test decides, going on where it stood: MODEL=rtdetr|...|all
#                 START=checkpoint, JOBS=2 runs of a pair at a time, AGAIN=1 repeats failed ones;
#                 PILOT=name SEEDS=2 LAST_BITS="all zeros" tries a recipe in PyTorch
# make study-report   docs/study/report.md, its figures and README's table from the rows alone
# make envs       only build the environments
# make clean-results    delete what was made, after asking
MODEL ?= rtdetr
ARGS ?=
CORES ?= 1

comma := ,
space := $(subst ,, )
# $(call with,OPTION,VALUES): ARGS with VALUES added to OPTION. Snakemake takes the last occurrence of an option alone.
# What ARGS says comes later and overrides.
with = $(if $(filter $(1),$(ARGS)),$(subst $(1)$(space),$(1)$(space)$(2)$(space),$(ARGS)),$(ARGS) $(1) $(2))

PYTHON ?= $(shell for p in python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
WORKFLOW := .venvs/workflow/bin

.PHONY: report test lint align faults detect export preview sweep overfit validate watch curves compare-logs bench study study-report envs workflow-env export-env clean-results python

report: workflow-env
	$(WORKFLOW)/snakemake --cores $(CORES) results/$(MODEL)/report.md $(ARGS)

python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed (python3.11 or python3 on PATH), or say PYTHON=/path/to/python3.11" >&2; exit 2; }

# .venvs/<name> points at the virtualenv that belongs to envs/<name>.yaml as it is now.
define build
@"$(PYTHON)" workflow/scripts/make_venv.py envs/$(1).yaml "$$("$(PYTHON)" workflow/scripts/make_venv.py envs/$(1).yaml)"
@ln -sfn "$$(basename "$$("$(PYTHON)" workflow/scripts/make_venv.py envs/$(1).yaml)")" .venvs/$(1)
endef

workflow-env: python
	$(call build,workflow)

envs: workflow-env
	$(call build,torch)
	$(call build,jittor)

# Beside the others: only `make export` and its tests need it. It finds PyTorch in the environment of torch.
export-env: envs
	$(call build,export)

test: envs export-env
	@$(WORKFLOW)/python workflow/scripts/run_tests.py

lint: workflow-env
	@$(WORKFLOW)/python workflow/scripts/run_tests.py lint

faults: envs
	.venvs/torch/bin/python tests/faults/plant.py torch --references
	.venvs/jittor/bin/python tests/faults/plant.py jittor
	.venvs/jittor/bin/python tests/faults/plant.py jittor --clean
	.venvs/torch/bin/python tests/faults/plant.py torch
	$(WORKFLOW)/python tests/faults/plant.py numpy
	$(WORKFLOW)/python tests/faults/plant.py page --out docs/faults.md

align: workflow-env
	$(WORKFLOW)/snakemake --cores $(CORES) results/$(MODEL)/alignment/alignment.json $(ARGS)
	@$(WORKFLOW)/python workflow/scripts/gate.py --alignment results/$(MODEL)/alignment/alignment.json

preview: workflow-env
	$(WORKFLOW)/snakemake --cores $(CORES) results/$(MODEL)/preview.png $(ARGS)

overfit: workflow-env
	$(WORKFLOW)/snakemake --cores $(CORES) results/overfit/$(MODEL)/report.md $(call with,--configfile,config/presets/overfit20.yaml)
	@$(WORKFLOW)/python workflow/scripts/show_overfit.py results/overfit/$(MODEL)/comparison.json

OUT ?= detected
FRAMEWORKS ?= torch
CONF ?= 0.5

detect: envs
	@test -n "$(SOURCE)" || { echo "SOURCE= is empty, expected an image, a folder, a pattern, a video or a camera's number" >&2; exit 2; }
	@"$(WORKFLOW)/python" workflow/scripts/detect.py --frameworks "$(FRAMEWORKS)" --out "$(OUT)" -- --conf "$(CONF)" --source $(SOURCE) \
		$(if $(RUN),--run "$(RUN)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(RUN),,--model "$(MODEL)" $(if $(VARIANT),--variant "$(VARIANT)"))

# MODEL and VARIANT name what WEIGHTS hold; a run knows its own. OUT, IMAGES and DATA are the check's.
FORMAT ?= onnx
EXPORTED = $(if $(RUN),$(patsubst %/,%,$(RUN))/export,results/$(MODEL)/export/$(or $(VARIANT),tiny))

export: export-env
	@test -n "$(RUN)$(WEIGHTS)" || { echo "RUN= and WEIGHTS= are empty, expected RUN=folder of a run, or WEIGHTS=file with MODEL= and VARIANT=" >&2; exit 2; }
	@$(WORKFLOW)/python workflow/scripts/export.py --out "$(if $(filter file,$(origin OUT)),$(EXPORTED),$(OUT))" \
		$(if $(CHECK),--check "$(CHECK)") $(if $(DATA),--data "$(DATA)") $(if $(IMAGES),--images "$(IMAGES)") -- --format "$(FORMAT)" \
		$(if $(BATCH),--batch "$(BATCH)") $(if $(SIZE),--size "$(SIZE)") $(if $(RUN),--run "$(RUN)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") \
		$(if $(and $(RUN),$(filter file,$(origin MODEL))),,--model "$(MODEL)") $(if $(VARIANT),--variant "$(VARIANT)")

validate: workflow-env
	@test -d "$(RUN)" || { echo "RUN=$(RUN) is no folder of a run, expected e.g. results/nanodet/runs/torch/e12-0123abcd-s0" >&2; exit 2; }
	@$(WORKFLOW)/python workflow/scripts/validate.py "$(RUN)" $(if $(WEIGHTS),"$(WEIGHTS)") \
		$(if $(filter file,$(origin OUT)),,--out "$(OUT)")

# FRAMEWORKS has another default for detect.
watch: workflow-env
	@$(WORKFLOW)/python workflow/scripts/watch.py results/$(MODEL) $(if $(filter file,$(origin FRAMEWORKS)),,--frameworks "$(FRAMEWORKS)")

curves: workflow-env
	@$(WORKFLOW)/python workflow/scripts/make_figures.py --comparison results/$(MODEL)/comparison.json --out results/$(MODEL) \
		--only loss loss_smoothed loss_components ap_curves ap_smoothed ar_curves learning_rate epoch_time

compare-logs: workflow-env
	@test -n "$(FIRST)" || { echo "FIRST= is missing, expected: make compare-logs FIRST=path SECOND=path [NAMES=\"Jittor,PyTorch\"]" >&2; exit 2; }
	@$(WORKFLOW)/python workflow/scripts/compare_logs.py "$(FIRST)" "$(SECOND)" --names "$(NAMES)" \
		--model "$(if $(filter file,$(origin MODEL)),,$(MODEL))" --batch "$(BATCH)" --images "$(IMAGES)" --val-images "$(VAL_IMAGES)"

sweep: workflow-env
	@$(WORKFLOW)/python workflow/scripts/sweep.py --model $(MODEL) $(if $(SIZES),--sizes $(SIZES)) -- --cores $(CORES) $(ARGS)

# Every setting, those too that a report leaves out. What a report measured already is not measured again.
BENCH := $(if $(filter all,$(MODEL)),rtdetr detr gfocalv2 nanodet,$(MODEL))

bench: workflow-env
	$(WORKFLOW)/snakemake --cores $(CORES) $(BENCH:%=results/%/profile/published.txt) $(call with,--configfile,config/presets/bench.yaml)
	@$(WORKFLOW)/python workflow/scripts/show_bench.py $(if $(APPEND),--append "$(APPEND)") $(BENCH:%=results/%/profile)

# A value may hold spaces, so that the section travels as JSON.
SECTION = 'reproduce={"coco": "$(COCO)"$(if $(WEIGHTS),$(comma) "weights": "$(WEIGHTS)")$(if $(IMAGES),$(comma) "images": $(IMAGES))}'

reproduce: workflow-env
	@test -n "$(COCO)" || { echo "COCO=$(COCO) is not set, expected a folder with annotations/instances_val2017.json and val2017/" >&2; exit 2; }
	$(WORKFLOW)/snakemake --cores $(CORES) results/$(MODEL)/reproduce/report.md $(call with,--config,$(if $(VARIANT),variant=$(VARIANT) )$(SECTION))

# MODEL's default is that of reports; a study of everything is said: MODEL=all.
SEEDS ?= 2
LAST_BITS ?= all

study: envs
	@$(WORKFLOW)/python workflow/scripts/study.py $(if $(PILOT),pilot $(MODEL) --pilot "$(PILOT)" --seeds "$(SEEDS)" --last-bits $(LAST_BITS),\
		run $(MODEL) $(if $(START),--start "$(START)") $(if $(JOBS),--jobs "$(JOBS)") $(if $(AGAIN),--again))

study-report: workflow-env
	@$(WORKFLOW)/python workflow/scripts/study.py report

clean-results:
	@test -d results || { echo "results/ is not there, nothing to delete"; exit 0; }; \
	du -sh results/* .snakemake 2>/dev/null; \
	printf 'Delete results/ and .snakemake/ with every trained run? [y/N] '; read -r answer; \
	[ "$$answer" = y ] && rm -rf results .snakemake && echo deleted || echo kept
