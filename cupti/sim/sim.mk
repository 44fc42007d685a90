# How the simulated device is built; the top Makefile includes this. Outputs:
#   $(SIM_DIR)/libcuda.so.1, $(SIM_DIR)/libcupti.so.13      what programs load (LD_LIBRARY_PATH=bin/sim)
#   cupti/sim/lib/…                                         the same without debug information, embedded by package sim
# Without make: gcc -std=c11 -fPIC -fvisibility=hidden -O2 -shared -Wl,-soname,libcuda.so.1 \
#   -Icupti -o libcuda.so.1 cupti/sim/driver/*.c -lpthread -ldl        (libcupti.so.13: tracer)

SIM_DRIVER_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard cupti/sim/driver/*.c))
SIM_TRACER_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard cupti/sim/tracer/*.c))
SIM_LIBS       := $(SIM_DIR)/libcuda.so.1 $(SIM_DIR)/libcupti.so.13
SIM_EMBEDDED   := cupti/sim/lib/libcuda.so.1 cupti/sim/lib/libcupti.so.13

sim: $(SIM_LIBS) $(if $(PLAIN),$(SIM_EMBEDDED))

$(SIM_DIR)/libcuda.so.1: $(SIM_DRIVER_OBJ)
$(SIM_DIR)/libcupti.so.13: $(SIM_TRACER_OBJ)
$(SIM_LIBS):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(if $(SAN),-fsanitize=$(SAN),-Wl$(comma)-z$(comma)defs) -Wl,-soname,$(@F) -Wl,-z,now \
	  -o $@ $^ $(WS_LDLIBS) $(LDFLAGS)

# Put in place whole: another process may be reading it.
cupti/sim/lib/%: bin/sim/%
	@mkdir -p $(@D) $(B)
	$(Q)strip --strip-debug -o $(B)/embedded-$* $<
	$(Q)mv $(B)/embedded-$* $@

bin/warpscope: $(SIM_EMBEDDED)

.PHONY: clean-sim
clean-sim:
	rm -f $(SIM_EMBEDDED)
clean: clean-sim

-include $(SIM_DRIVER_OBJ:.o=.d) $(SIM_TRACER_OBJ:.o=.d)
