# A test suite is one program made from one file of the same name: add its path, without .c, to a list
# below. It links with libl2fs.a, Check and tests/libtest.a; more than one source file: add e.g.
#   tests_unit_key_SOURCES = tests/unit/key.c tests/unit/key_vectors.h
unit_tests = \
	tests/unit/test_adopt \
	tests/unit/test_arrive \
	tests/unit/test_bitmap \
	tests/unit/test_bitmap_ops \
	tests/unit/test_conf \
	tests/unit/test_conf_json \
	tests/unit/test_ctl \
	tests/unit/test_events \
	tests/unit/test_evict \
	tests/unit/test_evict_ctl \
	tests/unit/test_evict_left \
	tests/unit/test_fault \
	tests/unit/test_fault_config \
	tests/unit/test_fault_hold \
	tests/unit/test_fs_adapter \
	tests/unit/test_fs_faults \
	tests/unit/test_fs_layout \
	tests/unit/test_fs_names \
	tests/unit/test_fs_space \
	tests/unit/test_gate \
	tests/unit/test_hash \
	tests/unit/test_health \
	tests/unit/test_hotplug \
	tests/unit/test_key \
	tests/unit/test_key_path \
	tests/unit/test_keyguard \
	tests/unit/test_landed \
	tests/unit/test_locks \
	tests/unit/test_log \
	tests/unit/test_loop \
	tests/unit/test_mailbox \
	tests/unit/test_metrics \
	tests/unit/test_mock \
	tests/unit/test_nomem \
	tests/unit/test_null \
	tests/unit/test_options \
	tests/unit/test_options_spec \
	tests/unit/test_policy \
	tests/unit/test_order \
	tests/unit/test_prefetch \
	tests/unit/test_prefetch_ctl \
	tests/unit/test_prefetch_late \
	tests/unit/test_process \
	tests/unit/test_ready \
	tests/unit/test_requests \
	tests/unit/test_scan \
	tests/unit/test_status \
	tests/unit/test_store \
	tests/unit/test_store_ctl \
	tests/unit/test_store_queue \
	tests/unit/test_store_storm \
	tests/unit/test_stream \
	tests/unit/test_taskq \
	tests/unit/test_tenant \
	tests/unit/test_tenant_room \
	tests/unit/test_text \
	tests/unit/test_tier \
	tests/unit/test_tiers \
	tests/unit/test_units \
	tests/unit/test_vfs \
	tests/unit/test_vfs_races \
	tests/unit/test_wheel \
	tests/unit/test_workers \
	tests/unit/test_xattr
if HAVE_PD
unit_tests += \
	tests/unit/test_pd_channel \
	tests/unit/test_pd_channel_faults
endif
tests_unit_test_pd_channel_faults_SOURCES = tests/unit/test_pd_channel_faults.c tests/unit/channel_fixture.c tests/unit/channel_fixture.h
tests_unit_test_pd_channel_SOURCES = tests/unit/test_pd_channel.c tests/unit/channel_fixture.c tests/unit/channel_fixture.h
tests_unit_test_arrive_SOURCES = tests/unit/test_arrive.c tests/unit/arrive_fixture.c tests/unit/arrive_fixture.h
tests_unit_test_evict_ctl_SOURCES = tests/unit/test_evict_ctl.c tests/unit/evict_fixture.c tests/unit/evict_fixture.h
tests_unit_test_evict_left_SOURCES = tests/unit/test_evict_left.c tests/unit/evict_fixture.c tests/unit/evict_fixture.h
tests_unit_test_fs_adapter_SOURCES = tests/unit/test_fs_adapter.c tests/unit/fs_fixture.c tests/unit/fs_fixture.h
tests_unit_test_fs_faults_SOURCES = tests/unit/test_fs_faults.c tests/unit/fs_fixture.c tests/unit/fs_fixture.h
tests_unit_test_fs_layout_SOURCES = tests/unit/test_fs_layout.c tests/unit/fs_fixture.c tests/unit/fs_fixture.h
tests_unit_test_fs_names_SOURCES = tests/unit/test_fs_names.c tests/unit/fs_fixture.c tests/unit/fs_fixture.h
tests_unit_test_fs_space_SOURCES = tests/unit/test_fs_space.c tests/unit/fs_fixture.c tests/unit/fs_fixture.h
tests_unit_test_requests_SOURCES = tests/unit/test_requests.c tests/unit/send_fake.c tests/unit/send_fake.h
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c tests/unit/load_fake.c tests/unit/load_fake.h
tests_unit_test_ctl_LDADD = tools/libctl.a $(LDADD)
tests_unit_test_landed_SOURCES = tests/unit/test_landed.c tests/unit/arrive_fixture.c tests/unit/arrive_fixture.h
tests_unit_test_nomem_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
tests_unit_test_nomem_SOURCES = tests/unit/test_nomem.c tests/unit/arrive_fixture.c tests/unit/arrive_fixture.h
tests_unit_test_tenant_SOURCES = tests/unit/test_tenant.c tests/unit/tenant_fixture.c tests/unit/tenant_fixture.h
tests_unit_test_tenant_room_SOURCES = tests/unit/test_tenant_room.c tests/unit/tenant_fixture.c tests/unit/tenant_fixture.h
if HAVE_PD
unit_tests += \
	tests/unit/test_pd_proto \
	tests/unit/test_pd_strict
tests_unit_test_pd_proto_SOURCES = tests/unit/test_pd_proto.c tests/unit/pd_vectors.c tests/unit/pd_vectors.h
tests_unit_test_pd_strict_SOURCES = tests/unit/test_pd_strict.c tests/unit/pd_vectors.c tests/unit/pd_vectors.h
endif
conform_tests = \
	tests/conform/conform
tests_conform_conform_SOURCES = \
	tests/conform/conform.c \
	tests/conform/conform.h \
	tests/conform/conform_attrs.c \
	tests/conform/conform_basic.c \
	tests/conform/conform_locks.c \
	tests/conform/conform_names.c \
	tests/conform/conform_objects.c \
	tests/conform/conform_tasks.c \
	tests/conform/conform_threads.c
stress_tests =
if HAVE_PD
unit_tests += tests/unit/test_pd_config tests/unit/test_pd_pair tests/unit/test_pd_skeleton tests/unit/test_pd_spec
endif

if HAVE_PD
unit_tests += \
	tests/unit/test_pd_ctl \
	tests/unit/test_pd_curve \
	tests/unit/test_pd_proxy
tests_unit_test_pd_ctl_SOURCES = tests/unit/test_pd_ctl.c tests/unit/ctl_fixture.c tests/unit/ctl_fixture.h
tests_unit_test_pd_curve_SOURCES = tests/unit/test_pd_curve.c tests/unit/ctl_fixture.c tests/unit/ctl_fixture.h
tests_unit_test_pd_proxy_SOURCES = tests/unit/test_pd_proxy.c tests/unit/ctl_fixture.c tests/unit/ctl_fixture.h
endif

if HAVE_PD
unit_tests += \
	tests/unit/test_pd_recv \
	tests/unit/test_pd_recv_faults \
	tests/unit/test_pd_recv_foreign \
	tests/unit/test_pd_recv_pack \
	tests/unit/test_pd_recv_room \
	tests/unit/test_pd_recv_storm
recv_fixture = \
	tests/unit/channel_fixture.c \
	tests/unit/channel_fixture.h \
	tests/unit/recv_fixture.c \
	tests/unit/recv_fixture.h \
	tests/unit/recv_sender.c
tests_unit_test_pd_recv_SOURCES = tests/unit/test_pd_recv.c $(recv_fixture)
tests_unit_test_pd_recv_faults_SOURCES = tests/unit/test_pd_recv_faults.c $(recv_fixture)
tests_unit_test_pd_recv_foreign_SOURCES = tests/unit/test_pd_recv_foreign.c $(recv_fixture)
tests_unit_test_pd_recv_pack_SOURCES = tests/unit/test_pd_recv_pack.c $(recv_fixture)
tests_unit_test_pd_recv_room_SOURCES = tests/unit/test_pd_recv_room.c $(recv_fixture)
tests_unit_test_pd_recv_storm_SOURCES = tests/unit/test_pd_recv_storm.c $(recv_fixture)
endif

# Code that tests share (tests/lib/*.c and .h).
testlib_sources = \
	tests/lib/core_rig.c \
	tests/lib/core_rig.h \
	tests/lib/prefetch_rig.c \
	tests/lib/prefetch_rig.h \
	tests/lib/rig.c \
	tests/lib/rig.h \
	tests/lib/rig_task.c \
	tests/lib/suite.h \
	tests/lib/vfsrig.c \
	tests/lib/vfsrig.h \
	tests/unit/options_fixture.h

# Programs that the scripts in tests/integration use, as $BUILDDIR/tests/NAME. They see a mount from outside,
# so they are built without the sanitizers.
helper_programs = tests/iocheck tests/engines tests/crashload tests/burst tests/soak
tests_iocheck_SOURCES = \
	tests/lib/ioaio.c \
	tests/lib/ioaio.h \
	tests/lib/iocheck.c \
	tests/lib/iocheck.h \
	tests/lib/iocheck_aio.c \
	tests/lib/iocheck_attr.c \
	tests/lib/iocheck_create.c \
	tests/lib/iocheck_data.c \
	tests/lib/iocheck_dirs.c \
	tests/lib/iocheck_link.c \
	tests/lib/iocheck_locks.c \
	tests/lib/iocheck_misc.c \
	tests/lib/iocheck_mmap.c \
	tests/lib/iocheck_mount.c \
	tests/lib/iocheck_names.c \
	tests/lib/iocheck_rename.c \
	tests/lib/iocheck_writer.c \
	tests/lib/iolib.c \
	tests/lib/iolib.h
tests_iocheck_CFLAGS = $(L2FS_CFLAGS) $(URING_CFLAGS)
tests_iocheck_LDFLAGS =
tests_iocheck_LDADD = $(URING_LIBS) -lpthread
tests_engines_SOURCES = \
	tests/lib/engines.c \
	tests/lib/engines.h \
	tests/lib/engines_llmd.c \
	tests/lib/engines_lmcache.c \
	tests/lib/engines_mooncake.c \
	tests/lib/engines_more.c \
	tests/lib/engines_nixl.c \
	tests/lib/engines_sglang.c \
	tests/lib/engines_slots.c \
	tests/lib/engines_tensor.c \
	tests/lib/engines_vllm.c \
	tests/lib/ioaio.c \
	tests/lib/ioaio.h \
	tests/lib/iolib.c \
	tests/lib/iolib.h
tests_engines_CFLAGS = $(L2FS_CFLAGS) $(URING_CFLAGS)
tests_engines_LDFLAGS =
tests_engines_LDADD = $(URING_LIBS) -lpthread
tests_crashload_SOURCES = \
	tests/lib/crashload.c \
	tests/lib/crashload.h \
	tests/lib/crashload_log.c \
	tests/lib/crashload_verify.c \
	tests/lib/iolib.c \
	tests/lib/iolib.h
tests_crashload_CFLAGS = $(L2FS_CFLAGS) $(URING_CFLAGS)
tests_crashload_LDFLAGS =
tests_crashload_LDADD =

tests_burst_SOURCES = \
	tests/lib/burst.c \
	tests/lib/iolib.c \
	tests/lib/iolib.h
tests_burst_CFLAGS = $(L2FS_CFLAGS)
tests_burst_LDFLAGS =
tests_burst_LDADD =
tests_soak_SOURCES = \
	tests/lib/iolib.c \
	tests/lib/iolib.h \
	tests/lib/soak.c
tests_soak_CFLAGS = $(L2FS_CFLAGS)
tests_soak_LDFLAGS =
tests_soak_LDADD =

# Fuzz targets, tests/fuzz/fuzz_NAME.c, without .c; built with --enable-fuzz only.
fuzz_targets = \
	tests/fuzz/fuzz_conf_json \
	tests/fuzz/fuzz_key \
	tests/fuzz/fuzz_options \
	tests/fuzz/fuzz_spec_json \
	tests/fuzz/fuzz_units \
	tests/fuzz/fuzz_xattr

if HAVE_PD
pd_send_fixture = tests/unit/pd_send_far.c tests/unit/pd_send_fixture.c tests/unit/pd_send_fixture.h
unit_tests += \
	tests/unit/test_pd_pair \
	tests/unit/test_pd_send \
	tests/unit/test_pd_send_done \
	tests/unit/test_pd_send_faults \
	tests/unit/test_pd_send_hostile \
	tests/unit/test_pd_send_pack
tests_unit_test_pd_pair_SOURCES = \
	tests/unit/channel_fixture.c \
	tests/unit/channel_fixture.h \
	tests/unit/recv_fixture.c \
	tests/unit/recv_fixture.h \
	tests/unit/test_pd_pair.c \
	$(pd_send_fixture)
tests_unit_test_pd_send_SOURCES = tests/unit/test_pd_send.c $(pd_send_fixture)
tests_unit_test_pd_send_done_SOURCES = tests/unit/test_pd_send_done.c $(pd_send_fixture)
tests_unit_test_pd_send_faults_SOURCES = tests/unit/test_pd_send_faults.c $(pd_send_fixture)
tests_unit_test_pd_send_hostile_SOURCES = tests/unit/test_pd_send_hostile.c $(pd_send_fixture)
tests_unit_test_pd_send_pack_SOURCES = tests/unit/test_pd_send_pack.c $(pd_send_fixture)
endif
if HAVE_PD
fuzz_targets += tests/fuzz/fuzz_pd_proto
endif
tests_fuzz_fuzz_options_SOURCES = tests/fuzz/fuzz_options.c tests/fuzz/fuzz_options.h
tests_fuzz_fuzz_spec_json_SOURCES = tests/fuzz/fuzz_spec_json.c tests/fuzz/fuzz_options.h

AM_DEFAULT_SOURCE_EXT = .c
if HAVE_CHECK
check_PROGRAMS += $(unit_tests) $(conform_tests) $(stress_tests) $(helper_programs)
check_LIBRARIES += tests/libtest.a
tests_libtest_a_SOURCES = $(testlib_sources)
test_libs += tests/libtest.a
endif

if FUZZ
noinst_PROGRAMS += $(fuzz_targets)
endif

TESTS = $(unit_tests) $(conform_tests)

EXTRA_DIST += tests/fuzz/corpus tests/README.md tests/functions.sh tests/pd.sh tests/check-layers.sh tests/check-readme.sh tests/supp/lsan.supp tests/supp/tsan.supp
EXTRA_DIST += tests/integration tests/lib/own-ns.sh tests/lib/pd_faults.py tests/lib/pd_hostile.py tests/lib/pd_peers.py

.PHONY: test-programs list-unit list-conform list-stress list-fuzz fuzz
test-programs: $(check_PROGRAMS)
fuzz: $(fuzz_targets)
list-unit:
	@echo $(unit_tests)
list-conform:
	@echo $(conform_tests)
list-stress:
	@echo $(stress_tests)
list-fuzz:
	@echo $(fuzz_targets)
