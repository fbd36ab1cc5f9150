.PHONY: setup format check test floor wheel lock proto docs bench bench-all bench-cluster blind crash kill powercut fuzz days mutants interop groups-chaos chaos seek-blind clients sim sim-groups sim-replication model-replication sim-raft restart local-story compose-story rolling-restart fourth-node group-story
PY ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

setup:  ; python3 dev.py setup
format: ; $(PY) -m ruff format . && $(PY) -m ruff check --fix .
check:  ; $(PY) -m tools.check
test:   ; $(PY) -m pytest -q -m "not slow and not packaging"
floor:  ; $(PY) -m pytest -q
wheel:  ; $(PY) -m pytest -q -m packaging
lock:   ; $(PY) -m tools.lock
proto:  ; $(PY) -m tools.gen_proto
docs:   ; $(PY) -m tools.gen_docs
bench:  ; $(PY) -m bench.harness $(ARGS)
bench-all: ; $(PY) -m bench.harness --all $(ARGS)
bench-cluster: ; $(PY) -m bench.cluster $(ARGS)

blind:    ; $(PY) -m tests.blind.run --ranges $(or $(N),1000) --seed $(or $(SEED),1)
kill:     ; $(PY) -m tests.kill.run --kills $(or $(N),200) --seed $(or $(SEED),1)
groups-chaos: ; $(PY) -m tests.chaos.run --seconds $(or $(SECONDS),600) --members $(or $(MEMBERS),50) --seed $(or $(SEED),1)
chaos:    ; $(PY) -m tests.chaos.nodes_run --seed $(or $(SEED),1) $(ARGS)
seek-blind: ; $(PY) -m tests.seek_blind.run --seeks $(or $(N),200) --seed $(or $(SEED),1)
fuzz:     ; $(PY) -m tests.fuzz.run --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)
crash:    ; $(PY) -m tests.crash.enumerate --states $(or $(N),50000) --seed $(or $(SEED),1)
powercut: ; $(PY) -m tests.powercut.run --cuts $(or $(N),50) --seed $(or $(SEED),1)
days:     ; $(PY) -m tests.sim.days --days $(or $(DAYS),30) --seed $(or $(SEED),1)
mutants:  ; $(PY) -m tools.mutants $(NAMES) --jobs $(or $(JOBS),1) --demo "$$($(PY) -c 'import dev; print(dev.demo_data())')"
interop:  ; $(PY) -m tests.interop.run
clients:  ; $(PY) -m tests.clients.run $(LANGUAGES)
sim:      ; $(PY) -m tidelog sim run --seed $(or $(SEED),0) --seeds $(or $(SEEDS),1) $(ARGS)
sim-raft: ; $(PY) -m tests.sim.raft --seeds $(or $(N),500) --first $(or $(FIRST),0)
sim-groups: ; $(PY) -m tests.sim.groups --seeds $(or $(N),500) --first $(or $(FIRST),0)
sim-replication: ; $(PY) -m tests.sim.replication --seeds $(or $(N),2000) --first $(or $(FIRST),0)
model-replication: ; $(PY) -m tests.models.replication --states $(or $(N),5000000)
restart:  ; $(PY) -m tests.restart.run $(ARGS)
local-story: ; $(PY) -m tests.cluster.local_story $(ROWS) $(ARGS)
compose-story: ; $(PY) -m tests.cluster.compose_story $(ROWS) $(ARGS)
rolling-restart: ; $(PY) -m tests.cluster.rolling --rounds $(or $(N),1)
fourth-node: ; $(PY) -m tests.cluster.local_story fourth
group-story: ; $(PY) -m tests.cluster.group_story --kills $(or $(N),20)
