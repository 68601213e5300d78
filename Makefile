# SPDX-License-Identifier: MIT
# Makefile: targets. Compilers, instruction sets, ports and link flags are in platform.mk, test programs in
# test/test.mk. `make help` prints the comments that begin with two number signs.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

include platform.mk

# V=1 shows the commands.
Q := $(if $(V),,@)
say = @printf '  %-7s %s\n' $(1)

# ---- Where things are ---------------------------------------------------------------------------------------

# Objects of core and backends belong to no port: an image that boots links the very ones of the library.
FREE_DIR := build/$(if $(CROSS),cross,posix)-$(CC_NAME)-$(VARIANT_NAME)
BARE_OUT := build/bare-x86-$(CC_NAME)-$(VARIANT_NAME)

# The small model of the tree, which the bare image holds too; and the one that is fetched.
SHIPPED := examples/shakespeare.qorus
MODEL ?= $(if $(filter run,$(MAKECMDGOALS)),$(SHIPPED),models/smollm2-135m-instruct.qorus)
small := $(filter $(SHIPPED),$(MODEL))
PROMPT ?= $(if $(small),ROMEO:,The quick brown fox)
N ?= $(if $(small),240,64)
TEMP ?= $(if $(small),0.8,0)
TEXT ?=
export MODEL PROMPT TEXT

CORE_SRC := $(filter-out core/base/mem.c,$(wildcard core/*/*.c))
BACKEND_SRC := $(foreach isa,scalar mock $(ISA_BACKENDS),$(wildcard backends/$(isa)/*.c))
POSIX_SRC := $(wildcard port/posix/*.c port/x86/*.c)
TOOL_SRC := $(wildcard tools/common/*.c)
# In double: for gradcheck. Golden vectors hold floats.
DOUBLE := $(filter double,$(VARIANT))
COMMAND_SRC := $(filter-out $(if $(DOUBLE),%/conform.c),$(wildcard tools/qorus/*.c))
BARE_APP_SRC := $(wildcard tools/bare/*.c)
# The runner of golden vectors: a part of `qorus conform` and of tests.
VECTORS_SRC := $(wildcard $(addprefix test/vectors/,runner.c compare.c drive.c drive_element.c drive_image.c drive_norm.c \
                          drive_recurrent.c drive_train.c text.c))

CORE_OBJ := $(CORE_SRC:%.c=$(FREE_DIR)/%.o)
BACKEND_OBJ := $(BACKEND_SRC:%.c=$(FREE_DIR)/%.o)
POSIX_OBJ := $(POSIX_SRC:%.c=$(FREE_DIR)/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(FREE_DIR)/%.o)
VECTORS_OBJ := $(VECTORS_SRC:%.c=$(FREE_DIR)/%.o)
COMMAND_OBJ := $(COMMAND_SRC:%.c=$(FREE_DIR)/%.o) $(TOOL_OBJ) $(if $(DOUBLE),,$(VECTORS_OBJ))
BARE_APP_OBJ := $(BARE_APP_SRC:%.c=$(FREE_DIR)/%.o) $(BARE_OUT)/tools/bare/model.S.o $(TOOL_OBJ) $(VECTORS_OBJ)
BARE_OBJ := $(BARE_SRC:%.c=$(BARE_OUT)/%.o) $(BARE_ASM:%.S=$(BARE_OUT)/%.S.o)
BARE_DISK_OBJ := $(BARE_DISK_SRC:%.c=$(BARE_OUT)/%.o)
IMAGE := $(BARE_OUT)/qorus.elf
MEM_OBJ := $(FREE_DIR)/core/base/mem.o

LIB := $(FREE_DIR)/libqorus.a
LIB_OBJ := $(CORE_OBJ) $(BACKEND_OBJ) $(if $(CROSS),,$(POSIX_OBJ))
COMMAND := $(if $(COMMAND_SRC),$(if $(CROSS),,$(FREE_DIR)/qorus))

# ---- Building -----------------------------------------------------------------------------------------------

ifeq ($(PORT),bare-x86)
all: $(IMAGE)
	@ln -f $(IMAGE) build/qorus.elf
else
all: lib command ## library and command for this machine, as build/libqorus.a and build/qorus (no network, no Python)
	$(if $(CROSS),,@ln -f $(LIB) build/libqorus.a)
	$(if $(COMMAND),@ln -f $(COMMAND) build/qorus)
endif

lib: $(LIB)

command: $(COMMAND)

# Flags are a prerequisite: objects made with others are made again.
FLAGS_NOW = $(CC) $(shell $(CC) -dumpversion 2>/dev/null) $(FREE_FLAGS) $(HOST_FLAGS) $(ISA_FLAGS_avx2vnni) $(ISA_FLAGS_avx512) $(CFLAGS) $(LDFLAGS)
$(FREE_DIR)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' >$@

define compile
@mkdir -p $(@D)
$(call say,CC $<)
$(Q)$(CC) $(1) $(CFLAGS) -MMD -MP -c -o $@ $<
endef

$(FREE_DIR)/core/%.o: core/%.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS) $(FILE_FLAGS))

$(FREE_DIR)/backends/%.o: backends/%.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS) $(FILE_FLAGS))

$(FREE_DIR)/port/%.o: port/%.c $(FREE_DIR)/flags
	$(call compile,$(HOST_FLAGS))

$(FREE_DIR)/tools/%.o: tools/%.c $(FREE_DIR)/flags
	$(call compile,$(HOST_FLAGS))

$(FREE_DIR)/tools/common/%.o: tools/common/%.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

$(FREE_DIR)/tools/bare/%.o: tools/bare/%.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

$(VECTORS_OBJ): $(FREE_DIR)/%.o: %.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

$(BARE_OUT)/%.o: %.c $(FREE_DIR)/flags
	$(call compile,$(BARE_CFLAGS) $(BARE_WARNINGS))

$(BARE_OUT)/%.S.o: %.S $(FREE_DIR)/flags
	$(call compile,$(BARE_CFLAGS) $(FILE_FLAGS))

$(BARE_OUT)/tools/bare/model.S.o: FILE_FLAGS := -DSHIPPED='"$(SHIPPED)"'
$(BARE_OUT)/tools/bare/model.S.o: $(SHIPPED)
$(MEM_OBJ): FILE_FLAGS := $(MEM_FLAGS)
$(FREE_DIR)/backends/avx2/%.o: FILE_FLAGS := $(ISA_FLAGS_avx2)
$(FREE_DIR)/backends/avx2/%_vnni.o: FILE_FLAGS := $(ISA_FLAGS_avx2vnni)
$(FREE_DIR)/backends/avx512/%.o: FILE_FLAGS := $(ISA_FLAGS_avx512)
# Several long elementary functions side by side: gcc interleaves them only where it is asked to.
ifneq ($(filter gcc%,$(CC_NAME)),)
$(FREE_DIR)/backends/avx512/recurrent.o: FILE_FLAGS += -fschedule-insns
endif
# The files that look at the CPU and fill the table run on every CPU.
$(foreach isa,$(ISA_BACKENDS),$(FREE_DIR)/backends/$(isa)/$(isa).o): FILE_FLAGS :=

$(LIB): $(LIB_OBJ)
	$(call say,AR $@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(FREE_DIR)/qorus: $(COMMAND_OBJ) $(LIB)
	$(call say,LD $@)
	$(Q)$(CC) $(HOST_LDFLAGS) $(LDFLAGS) -o $@ $^ $(PORT_LIBS_posix)

# The image: the library's own objects, a port without an operating system, and an application for it.
$(IMAGE): $(BARE_OBJ) $(BARE_APP_OBJ) $(CORE_OBJ) $(BACKEND_OBJ) $(MEM_OBJ) $(BARE_LDS)
	$(call say,LD $@)
	$(Q)$(CC) $(BARE_LDFLAGS) -o $@ $(filter %.o,$^)

include test/test.mk
include tools/bench/bench.mk

-include $(shell find $(FREE_DIR) $(BARE_OUT) -name '*.d' 2>/dev/null)

# ---- Running ------------------------------------------------------------------------------------------------

ifeq ($(PORT),posix)

run: all model-needed ## continue PROMPT= with the model of the tree (MODEL= N= TEMP= choose otherwise)
	@build/qorus run "$$MODEL" -p "$$PROMPT" -n $(N) --temp $(TEMP)

chat: all model-needed ## talk to SmolLM2-135M-Instruct, fetched if it is missing
	@build/qorus chat "$$MODEL"

else

# ACCEL=kvm|tcg CPU= SMP= MEM= MACHINE= QEMU= reach the script through the environment.
run: all model-needed
	@sh port/bare-x86/run-qemu.sh $(if $(small),,--module "$$MODEL") $(IMAGE) run -p "$$PROMPT" -n $(N) --temp $(TEMP)

chat: all model-needed
	@sh port/bare-x86/run-qemu.sh --interactive --module "$$MODEL" $(IMAGE) chat

endif

pictures: all model-needed digits ## make the pictures of the README again, into docs/pictures (Graphviz for the graph)
	@sh tools/pictures.sh

# ---- What is fetched or installed, only when asked for -------------------------------------------------------

deps: ## install Debian packages (as root; else name them) and the Python venv build/venv
	@sh tools/deps.sh

model: ## fetch SmolLM2-135M-Instruct (checked SHA-256) and convert it into models/
	@sh tools/model.sh

digits: ## fetch 1,797 handwritten digits (of scikit-learn's package) as IDX files into build/digits
	@sh tools/deps.sh --python && build/venv/bin/python tools/make_digits.py

model-needed:
	@test -f "$$MODEL" || { echo "$$MODEL is missing: making it (make deps, make model)"; \
	 sh tools/deps.sh --python && sh tools/model.sh; test -f "$$MODEL" || { echo "no such model: $$MODEL" >&2; exit 1; }; }

# ---- Proof --------------------------------------------------------------------------------------------------

BARE_SUITES := bare shipped bare-disk one-hash one-hash-large proof bare-train bare-digits bare-checkpoint

ifeq ($(PORT),bare-x86)
test: all command test-programs
	@BUILD=$(FREE_DIR) sh test/run.sh full $(BARE_SUITES)

else
test: ## every test; ends with "N passed, N failed, N skipped" (TEXT= names a large text for the tokenizer)
	@sh tools/deps.sh --missing || { echo "test: something the tests use is missing: make deps"; sh tools/deps.sh || true; }
	@test -f models/smollm2-135m-instruct.qorus || \
	 { echo "test: the model is missing: make model"; sh tools/model.sh || echo "test: going on without the model"; }
	+@built=yes; $(MAKE) -k all test-programs || built=no; BUILT=$$built BUILD=$(FREE_DIR) sh test/run.sh full $(SUITE)
endif

test-quick: ## the edit loop, under two minutes (SUITE= runs those of that name)
	+@built=yes; $(MAKE) -k all test-programs || built=no; BUILT=$$built BUILD=$(FREE_DIR) sh test/run.sh quick $(SUITE)

test-long: ## what is too long for test: every mutant, long fuzzing, more random graphs (hours; SUITE= runs those of that name)
	+@built=yes; $(MAKE) -k all test-programs || built=no; BUILT=$$built BUILD=$(FREE_DIR) sh test/run.sh long $(SUITE)

# One corpus grows in build/fuzz/TARGET, from the committed one; merge what is worth keeping by hand.
FUZZ_SETTINGS := CC=clang SAN=fuzzer-no-link,address,undefined
TARGET ?= file tokenizer snapshot
SECONDS ?= 60
fuzz: ## fuzz the parsers with libFuzzer (TARGET="file tokenizer snapshot", SECONDS=60 each)
	+@FUZZ=$$($(MAKE) -s print-FREE_DIR $(FUZZ_SETTINGS))/test/bin/fuzz_lib; \
	 $(MAKE) $(FUZZ_SETTINGS) "$$FUZZ" && sh test/fuzz/fuzz.sh "$$FUZZ" $(SECONDS) $(TARGET)

mutants: all ## break validators and scalar kernels one place at a time: the tests must notice (hours)
	+@$(MAKE) test-programs && BUILD=$(FREE_DIR) sh test/need.sh python3 gcc -- python3 test/mutate/mutate.py

coverage: ## lines and branches of core that the tests reach, file by file (clang, llvm-cov)
	@sh test/need.sh python3 clang llvm-cov llvm-profdata -- python3 test/fuzz/coverage.py all

vectors: ## generate the golden vectors again with NumPy: they must come out bit for bit
	@sh tools/deps.sh --python
	@sh tools/vectors.sh

size: ## text + rodata of the core (-Os), run-only, run and train, full: on a Cortex-M4 (Thumb) and as x86-64
	+@sh test/gates/size.sh thumb x86-64

inspect-isa: lib ## which vector instructions each kernel really contains
	@sh tools/inspect_isa.sh $(filter %.o,$(BACKEND_OBJ))

# ---- The rest -----------------------------------------------------------------------------------------------

PREFIX ?= /usr/local

INSTALLED = $(DESTDIR)$(PREFIX)
# Files that make install fills in.
FILLED = sed -e 's|@PREFIX@|$(PREFIX)|' -e "s|@VERSION@|$$(sed -n 's/.*Q_VERSION_[MP][A-Z]* \([0-9]*\)$$/\1/p' include/qorus_types.h | paste -sd.)|"

# The header of the hosted port comes along, as programs of a system include it; its own includes are of the tree.
install: all ## headers, library, pkg-config and CMake files, command under PREFIX= (DESTDIR= is put in front)
	$(if $(word 2,x$(INSTALLED)x),$(error install: "$(INSTALLED)" holds a space, which pkg-config files cannot: choose another PREFIX= or DESTDIR=))
	install -d $(INSTALLED)/include/port/posix $(INSTALLED)/lib/pkgconfig $(INSTALLED)/lib/cmake/qorus $(INSTALLED)/bin
	cp -R include/. $(INSTALLED)/include/
	$(if $(COMMAND),sed 's|"../../include/|"|' port/posix/posix.h >$(INSTALLED)/include/port/posix/posix.h)
	install -m 644 build/libqorus.a $(INSTALLED)/lib/
	$(FILLED) tools/qorus.pc.in >$(INSTALLED)/lib/pkgconfig/qorus.pc
	$(FILLED) tools/qorusConfigVersion.cmake.in >$(INSTALLED)/lib/cmake/qorus/qorusConfigVersion.cmake
	install -m 644 tools/qorusConfig.cmake $(INSTALLED)/lib/cmake/qorus/
	$(if $(COMMAND),install -m 755 build/qorus $(INSTALLED)/bin/)

amalgamation: ## the library as qorus.c and qorus.h, to copy into a project, in build/amalgamation
	@rm -rf build/amalgamation
	@tools/amalgamate build/amalgamation

clean: ## remove what was built; keeps models/ and build/venv
	@find build -mindepth 1 -maxdepth 1 ! -name venv ! -name download -exec rm -rf {} + 2>/dev/null || true

help: ## this list
	@echo 'make [PORT=posix|bare-x86] [CC=gcc|clang] [VARIANT=release|debug|size|double|coverage] [SAN=address,undefined]'
	@echo '     [CROSS=thumb|arm|aarch64|riscv64|i686: library only] [V=1] TARGET'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | sort -u | expand -t 16

# Value of a variable, for scripts: `make -s print-FREE_FLAGS`.
print-%:
	@echo '$($*)'

FORCE:

.PHONY: all lib command run chat deps model digits pictures model-needed test test-quick test-long fuzz mutants coverage vectors size inspect-isa install \
        amalgamation clean help FORCE
