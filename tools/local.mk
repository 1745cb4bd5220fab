# Programs: one block each, added with its source, as
#   bin_PROGRAMS += tools/l2fsctl
#   tools_l2fsctl_SOURCES = tools/l2fsctl.c
#   tools_l2fsctl_LDADD = $(L2FS_LIBS)
# Man pages: dist_man_MANS += tools/man/mount.l2fs.8

# Talks to a mount through files and xattrs alone; of libl2fs.a only the clock, the units and the texts.
bin_PROGRAMS += tools/l2fsctl
noinst_LIBRARIES += tools/libctl.a
tools_libctl_a_SOURCES = \
	tools/ctl.h \
	tools/ctl_adapters.c \
	tools/ctl_events.c \
	tools/ctl_evict.c \
	tools/ctl_keys.c \
	tools/ctl_mount.c \
	tools/ctl_rates.c \
	tools/ctl_rates.h \
	tools/ctl_set.c \
	tools/ctl_settings.c \
	tools/ctl_show.c \
	tools/ctl_status.c \
	tools/ctl_text.c \
	tools/ctl_top.c \
	tools/ctl_verbs.c \
	tools/ctl_warm.c
tools_l2fsctl_SOURCES = tools/l2fsctl.c
tools_l2fsctl_LDADD = tools/libctl.a libl2fs.a $(JANSSON_LIBS)

# Measures a mount against a plain tmpfs, with --pd two mounts, with --cost an instance of its own, with --report all of
# it. The program is made in the build directory; the script of that name in the source tree runs it.
bin_PROGRAMS += tools/l2bench
tools_l2bench_SOURCES = \
	tools/bench.h \
	tools/bench_basic.c \
	tools/bench_cost.c \
	tools/bench_crew.c \
	tools/bench_data.c \
	tools/bench_disk.c \
	tools/bench_io.c \
	tools/bench_io.h \
	tools/bench_key.c \
	tools/bench_markdown.c \
	tools/bench_mount.c \
	tools/bench_names.c \
	tools/bench_pd.c \
	tools/bench_pd.h \
	tools/bench_peers.c \
	tools/bench_perftest.c \
	tools/bench_proc.c \
	tools/bench_report.c \
	tools/bench_report.h \
	tools/bench_resp.c \
	tools/bench_resp.h \
	tools/bench_row.c \
	tools/bench_side.c \
	tools/bench_small.c \
	tools/bench_stream.c \
	tools/bench_tier.c \
	tools/bench_usage.c \
	tools/bench_usage.h \
	tools/bench_verdict.c \
	tools/l2bench.c
tools_l2bench_LDADD = $(L2FS_LIBS)
# Where there is no program yet, make finds the script in the source tree, and takes it for one that is newer.
all-local: $(bin_PROGRAMS)
	@test -f tools/l2bench || { rm -f tools/l2bench.o && $(MAKE) tools/l2bench; }

# Makes the keys of the pd adapter.
if HAVE_PD
bin_PROGRAMS += tools/l2fs-keygen
dist_man_MANS += tools/man/l2fs-keygen.1
endif
tools_l2fs_keygen_SOURCES = tools/keygen.c
tools_l2fs_keygen_LDADD = $(ZMQ_LIBS)

dist_man_MANS += tools/man/l2bench.1 tools/man/l2fs.5 tools/man/l2fsctl.1 tools/man/mount.l2fs.8
EXTRA_DIST += tools/report/report.md tools/report/report.json tools/report/report.svg
EXTRA_DIST += tools/build tools/demo-pd tools/deps tools/quickstart tools/run-tests
EXTRA_DIST += tools/examples/decode.fstab tools/examples/decode.json tools/examples/decode.mount \
	tools/examples/prefill.fstab tools/examples/prefill.json tools/examples/prefill.mount
