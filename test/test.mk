# SPDX-License-Identifier: MIT
# test.mk: test programs. Each suite of test/suites.txt runs one of them, or a script.

TEST_DIR := $(FREE_DIR)/test
TEST_PROGRAMS :=

$(TEST_DIR)/%.o: test/%.c $(FREE_DIR)/flags
	$(call compile,$(TEST_FLAGS) $(FILE_FLAGS))

$(TEST_DIR)/%.S.o: test/%.S $(FREE_DIR)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(TARGET_FLAGS) $(FILE_FLAGS) -c -o $@ $<

WRAP_MALLOC := -Wl$(comma)--wrap=malloc$(comma)--wrap=calloc$(comma)--wrap=realloc

# $(call test_program,NAME,SOURCES[,LIBRARIES]): a program of the host.
define test_program
$(TEST_DIR)/bin/$(1): $(patsubst %.c,$(FREE_DIR)/%.o,$(2)) $(LIB)
	@mkdir -p $$(@D)
	$$(call say,LD $$@)
	$$(Q)$$(CC) $$(HOST_LDFLAGS) $$(LDFLAGS) -o $$@ $$^ $(3) $$(PORT_LIBS_posix)
TEST_PROGRAMS += $(TEST_DIR)/bin/$(1)
endef

ifeq ($(CROSS),)
ifeq ($(VARIANT),double)
$(eval $(call test_program,test_gradient,$(wildcard test/gradient/*.c)))
$(eval $(call test_program,test_trajectories,$(filter-out %_bare.c,$(wildcard test/trajectory/*.c)),-lm))
else
$(eval $(call test_program,test_port,$(wildcard test/port/*.c)))
$(eval $(call test_program,run_vectors,test/vectors/main_posix.c $(VECTORS_SRC)))
$(eval $(call test_program,test_runner,test/vectors/test_runner.c $(VECTORS_SRC)))
$(eval $(call test_program,checkkern,$(wildcard test/checkkern/*.c)))
$(eval $(call test_program,ulp,$(addprefix test/elementary/,ulp.c f64.c fma_half.c eval_avx2.c eval_avx512.c),-lm))
$(eval $(call test_program,test_plan,test/plan/test_plan.c))
$(eval $(call test_program,test_rewrite,test/command/test_rewrite.c))
$(eval $(call test_program,test_data,$(wildcard test/data/*.c tools/common/dataset*.c),-lm))
$(eval $(call test_program,test_vocabulary,test/vocabulary/test_vocabulary.c $(wildcard tools/common/vocabulary*.c)))
$(eval $(call test_program,test_adapter,$(wildcard test/adapter/*.c) tools/common/adapter.c,-lm))
$(eval $(call test_program,test_write,$(wildcard test/write/*.c)))
$(eval $(call test_program,test_format,$(wildcard test/format/*.c)))
$(eval $(call test_program,test_tokenizer,$(wildcard test/tokenizer/*.c)))
$(eval $(call test_program,test_ops,$(wildcard test/ops/*.c)))
$(eval $(call test_program,test_sampler,$(wildcard test/sampler/*.c)))
$(eval $(call test_program,test_snapshot,$(wildcard test/snapshot/*.c) test/port/fault_port.c))
$(eval $(call test_program,test_checkpoint,$(addprefix test/checkpoint/,test_checkpoint.c bad.c faults.c states.c medium.c sim.c rig.c) \
              test/train/bench.c test/port/fault_port.c))
$(eval $(call test_program,test_crashes,$(addprefix test/checkpoint/,test_crashes.c crash.c sim.c rig.c) test/train/bench.c))
$(eval $(call test_program,test_faults,$(wildcard test/fault/*.c) test/port/fault_port.c tools/qorus/host.c $(wildcard tools/common/*.c)))
$(eval $(call test_program,test_gradient,$(wildcard test/gradient/*.c)))
$(eval $(call test_program,test_trajectories,$(filter-out %_bare.c,$(wildcard test/trajectory/*.c)),-lm))
$(eval $(call test_program,digits,$(addprefix test/,digits/main_posix.c digits/digits.c trajectory/hash.c trajectory/host_posix.c) \
              $(wildcard tools/common/dataset*.c)))
$(eval $(call test_program,durable,$(addprefix test/,durable/main_posix.c durable/durable.c port/fault_port.c) \
              $(addprefix test/trajectory/,bench.c hash.c host_posix.c networks.c open.c records.c)))
$(eval $(call test_program,test_resume,test/resume/test_resume.c \
              $(addprefix test/trajectory/,bench.c hash.c host_posix.c networks.c open.c records.c)))
$(eval $(call test_program,test_norm,test/norm/test_norm.c,-lm))
$(eval $(call test_program,test_narrow,$(wildcard test/narrow/*.c),-lm))
$(eval $(call test_program,test_train,$(wildcard test/train/*.c),-lm))
$(eval $(call test_program,test_model,$(filter-out test/model/fuzz_%,$(wildcard test/model/*.c)),-lm))
$(eval $(call test_program,test_mock,$(wildcard test/mock/*.c) test/model/flow.c))
$(eval $(call test_program,fuzz_graphs,$(wildcard test/model/fuzz_*.c)))
FUZZ_SRC := $(addprefix test/fuzz/,mutate.c file_mutate.c target_file.c target_tokenizer.c target_snapshot.c) test/snapshot/tiny_model.c
ifneq ($(findstring fuzzer,$(SAN)),)
$(eval $(call test_program,fuzz_lib,test/fuzz/libfuzzer.c $(FUZZ_SRC),-fsanitize=fuzzer))
else
$(eval $(call test_program,fuzz,test/fuzz/fuzz.c $(FUZZ_SRC)))
endif
$(eval $(call test_program,test_allocation,$(addprefix test/allocation/,test_allocation.c trap.c) $(wildcard tools/common/*.c),$(WRAP_MALLOC)))
$(eval $(call test_program,test_train_allocation,$(addprefix test/allocation/,test_train_allocation.c trap.c) \
              $(filter-out %/test_trajectories.c %_bare.c,$(wildcard test/trajectory/*.c)),$(WRAP_MALLOC)))
ifneq ($(wildcard /usr/include/cmocka.h),)
$(eval $(call test_program,test_host,$(wildcard test/host/*.c),-lcmocka))
endif
endif

ifneq ($(VARIANT),double)
# The same proof on the host and without an operating system.
PROOF_SRC := $(filter-out test/proof/main_%,$(wildcard test/proof/*.c)) $(wildcard test/format/bad_*.c test/ops/bad_*.c) \
             test/format/quantize_cases.c test/sampler/sampler_cases.c test/tokenizer/bad_tokens.c test/ops/fake_device.c \
             test/port/fault_port.c
PROOF_OBJ := $(PROOF_SRC:%.c=$(FREE_DIR)/%.o)
PROOF_IMAGE := $(TEST_DIR)/bin/proof.elf
$(eval $(call test_program,proof,test/proof/main_posix.c $(PROOF_SRC) $(VECTORS_SRC) $(wildcard tools/common/dataset*.c)))
$(PROOF_OBJ) $(TEST_DIR)/proof/main_bare.o: $(FREE_DIR)/%.o: %.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

# What trains with a libc and without.
TRAJECTORY_IMAGE := $(TEST_DIR)/bin/trajectories.elf
DIGITS_IMAGE := $(TEST_DIR)/bin/digits.elf
TRAINS_OBJ := $(addprefix $(TEST_DIR)/trajectory/,hash.o host_bare.o)
NETWORKS_OBJ := $(addprefix $(TEST_DIR)/trajectory/,bench.o networks.o records.o)
TRAJECTORY_OBJ := $(TEST_DIR)/trajectory/main_bare.o $(NETWORKS_OBJ)
# A training that saves itself.
DURABLE_IMAGE := $(TEST_DIR)/bin/durable.elf
DURABLE_OBJ := $(addprefix $(TEST_DIR)/durable/,main_bare.o durable.o)
DIGITS_OBJ := $(addprefix $(TEST_DIR)/digits/,main_bare.o digits.o)
$(TRAINS_OBJ) $(TRAJECTORY_OBJ) $(DIGITS_OBJ) $(DURABLE_OBJ): $(FREE_DIR)/%.o: %.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

$(TRAJECTORY_IMAGE): $(TRAJECTORY_OBJ) $(TRAINS_OBJ) $(CORE_OBJ) $(BACKEND_OBJ)
$(DIGITS_IMAGE): $(DIGITS_OBJ) $(TRAINS_OBJ) $(TOOL_OBJ) $(CORE_OBJ) $(BACKEND_OBJ)
bare-resume: $(TEST_DIR)/bin/durable $(DURABLE_IMAGE) ## train a language model in QEMU, kill it, go on here to the same bits
	@sh tools/bare_resume.sh $^
$(DURABLE_IMAGE): $(DURABLE_OBJ) $(NETWORKS_OBJ) $(TRAINS_OBJ) $(TEST_DIR)/port/fault_port.o $(CORE_OBJ) $(BACKEND_OBJ) $(BARE_DISK_OBJ)
$(PROOF_IMAGE): $(TEST_DIR)/proof/main_bare.o $(PROOF_OBJ) $(VECTORS_OBJ) $(TOOL_OBJ) $(CORE_OBJ) $(BACKEND_OBJ)

# The disk of the port, without the library.
DISK_IMAGE := $(TEST_DIR)/bin/disk.elf
$(TEST_DIR)/bare/disk.o: $(FREE_DIR)/%.o: %.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))
$(DISK_IMAGE): $(TEST_DIR)/bare/disk.o $(BARE_DISK_OBJ)

$(TRAJECTORY_IMAGE) $(DIGITS_IMAGE) $(DURABLE_IMAGE) $(PROOF_IMAGE) $(DISK_IMAGE): $(BARE_OBJ) $(MEM_OBJ) $(BARE_LDS)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(BARE_LDFLAGS) -o $@ $(filter %.o,$^)
ifneq ($(filter avx2,$(ISA_BACKENDS)),)
ifeq ($(SAN)$(filter coverage,$(VARIANT)),)
TEST_PROGRAMS += $(PROOF_IMAGE) $(TRAJECTORY_IMAGE) $(DIGITS_IMAGE) $(DURABLE_IMAGE) $(DISK_IMAGE)
endif
endif
endif

# Where the processor is an x86-64, tests know its elementary functions.
ifneq ($(filter avx2,$(ISA_BACKENDS)),)
$(TEST_DIR)/elementary/eval_avx2.o: FILE_FLAGS := $(ISA_FLAGS_avx2)
endif
ifneq ($(filter avx512,$(ISA_BACKENDS)),)
$(TEST_DIR)/elementary/eval_avx512.o: FILE_FLAGS := $(ISA_FLAGS_avx512)
endif
endif

test-programs: $(TEST_PROGRAMS)

# ---- Images without a libc, for qemu-user --------------------------------------------------------------------

# make CROSS=arm cross-vectors: golden vectors on the scalar backend as one static program.
PACKS := $(sort $(wildcard vectors/kernels/*.qvec))

build/vectors.qvec: $(PACKS)
	@mkdir -p $(@D)
	$(Q)cat $(PACKS) >$@

$(TEST_DIR)/vectors/pack.S.o: FILE_FLAGS := -DQ_VECTORS_PACK='"build/vectors.qvec"'
$(TEST_DIR)/vectors/pack.S.o: build/vectors.qvec

CROSS_VECTORS_OBJ := $(addprefix $(TEST_DIR)/vectors/,start.S.o pack.S.o main_freestanding.o helpers32.o) \
                     $(VECTORS_OBJ) $(BACKEND_OBJ) $(MEM_OBJ)
$(TEST_DIR)/vectors/main_freestanding.o $(TEST_DIR)/vectors/helpers32.o: $(TEST_DIR)/%.o: test/%.c $(FREE_DIR)/flags
	$(call compile,$(FREE_FLAGS))

$(TEST_DIR)/vectors.elf: $(CROSS_VECTORS_OBJ)
	$(call say,LD $@)
	$(Q)$(CC) $(TARGET_FLAGS) -nostdlib -static -fuse-ld=lld -o $@ $^

cross-vectors: $(TEST_DIR)/vectors.elf

.PHONY: test-programs cross-vectors
