# SPDX-License-Identifier: MIT
# test.mk: test programs. Each suite of test/suites.txt runs one of them, or a script.

TEST_DIR := $(FREE_DIR)/test

$(TEST_DIR)/%.o: test/%.c $(FREE_DIR)/flags
	$(call compile,$(TEST_FLAGS) $(FILE_FLAGS))

# Links $(1) from all sources of a folder test/$(2).
define test_program
$(TEST_DIR)/$(1): $(patsubst %.c,$(FREE_DIR)/%.o,$(wildcard test/$(2)/*.c)) $(LIB)
	$$(call say,LD $$@)
	$$(Q)$$(CC) $$(HOST_LDFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(TEST_LIBS_$(2)) $$(PORT_LIBS_posix)
TEST_PROGRAMS += $(TEST_DIR)/$(1)
endef

TEST_PROGRAMS :=
TEST_LIBS_host := -lcmocka
$(eval $(call test_program,test_port,port))
ifneq ($(wildcard /usr/include/cmocka.h),)
$(eval $(call test_program,test_host,host))
endif
test-programs: $(TEST_PROGRAMS)
test-quick-programs: $(TEST_PROGRAMS)
.PHONY: test-programs test-quick-programs
