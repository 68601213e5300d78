# SPDX-License-Identifier: MIT
# bench.mk: the programs of `make bench` and `make bench-peers`, and both commands.

BENCH_DIR := $(FREE_DIR)/tools/bench
BENCH_SRC := $(wildcard tools/bench/part*.c) tools/bench/works.c
ISA_FLAGS_avxvnni := -mavxvnni -mavx2
# Loops of one instruction set each, in files of that name; what the processor can run is asked at run time.
ifneq ($(filter avx2,$(ISA_BACKENDS)),)
BENCH_SRC += $(wildcard tools/bench/peaks_*.c)
$(foreach isa,avx2 avxvnni avx512,$(BENCH_DIR)/peaks_$(isa).o): $(BENCH_DIR)/peaks_%.o: tools/bench/peaks_%.c $(FREE_DIR)/flags
	$(call compile,$(HOST_FLAGS) $(ISA_FLAGS_$*))
endif
BENCH_OBJ := $(BENCH_SRC:%.c=$(FREE_DIR)/%.o) $(TOOL_OBJ)

$(BENCH_DIR)/parts: $(BENCH_OBJ) $(LIB)
	$(call say,LD $@)
	$(Q)$(CC) $(HOST_LDFLAGS) $(LDFLAGS) -o $@ $^ $(PORT_LIBS_posix)

# ---- Commands -----------------------------------------------------------------------------------------------

ifeq ($(CROSS)$(filter double,$(VARIANT)),)
test-programs: $(BENCH_DIR)/parts
endif

ifeq ($(PORT),posix)

BASELINE ?=
BENCH_ARGS ?=

bench-programs: $(BENCH_DIR)/parts $(TEST_DIR)/bin/checkkern

bench: all bench-programs model-needed $(if $(filter avx2,$(ISA_BACKENDS)),$(IMAGE)) ## own benchmarks beside the stored baseline of this kind of CPU (BASELINE=save stores it)
	@python3 tools/bench/bench.py --command build/qorus --parts $(BENCH_DIR)/parts --checkkern $(TEST_DIR)/bin/checkkern \
	 --model "$$MODEL" --image $(IMAGE) $(if $(filter save,$(BASELINE)),--save) $(BENCH_ARGS)

bench-peers: all bench-programs model-needed ## side by side with llama.cpp, oneDNN and PyTorch, fetched and built once in build/peers
	@sh tools/bench/build_peers.sh
	@build/venv/bin/python tools/bench/peers.py --command build/qorus --parts $(BENCH_DIR)/parts $(if $(filter save,$(BASELINE)),--save) \
	 $(BENCH_ARGS)

bench-digits: all digits ## held-out accuracy on handwritten digits over five seeds (BASELINE=save stores it)
	@python3 tools/bench/digits.py $(if $(filter save,$(BASELINE)),--save)

bench-recipes: all digits ## four trainings by `qorus train` and by PyTorch, from the same first weights: losses and time (BASELINE=save stores it)
	@sh tools/bench/build_peers.sh torch
	@build/peers/torch/bin/python tools/bench/recipes.py $(if $(filter save,$(BASELINE)),--save) $(BENCH_ARGS)

else

bench bench-peers bench-digits bench-recipes:
	@echo '$@: not on PORT=$(PORT)' >&2; exit 2

endif

.PHONY: bench bench-peers bench-digits bench-recipes bench-programs
