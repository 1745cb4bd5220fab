# Every adapter goes into libl2fs.a. List a file here (.c and .h, sorted) in the same commit that adds it.
adapters_sources = \
	adapters/fault.c \
	adapters/fault_hold.c \
	adapters/fault_impl.h \
	adapters/fault_rules.c \
	adapters/fault_rules.h \
	adapters/fault_task.c \
	adapters/fs.c \
	adapters/fs.h \
	adapters/fs_durable.c \
	adapters/fs_durable.h \
	adapters/fs_files.c \
	adapters/fs_health.c \
	adapters/fs_health.h \
	adapters/fs_io.c \
	adapters/fs_io.h \
	adapters/fs_layout.c \
	adapters/fs_layout.h \
	adapters/fs_load.c \
	adapters/fs_names.c \
	adapters/fs_ring.c \
	adapters/fs_ring.h \
	adapters/fs_root.c \
	adapters/fs_scan.c \
	adapters/fs_space.c \
	adapters/fs_space.h \
	adapters/fs_store.c \
	adapters/fs_xattr.c \
	adapters/fs_xattr.h \
	adapters/mock.c \
	adapters/mock_table.c \
	adapters/mock_table.h \
	adapters/mock_tree.c \
	adapters/null.c \
	adapters/pace.c \
	adapters/pace.h \
	adapters/registry.c \
	adapters/registry.h

# The pd adapter: needs UCX, libzmq and msgpack-c, and is left out without them.
pd_sources = \
	adapters/pd.c \
	adapters/pd_channel.c \
	adapters/pd_channel.h \
	adapters/pd_channel_impl.h \
	adapters/pd_config.c \
	adapters/pd_config.h \
	adapters/pd_config_check.c \
	adapters/pd_ctl.c \
	adapters/pd_ctl.h \
	adapters/pd_ctl_auth.c \
	adapters/pd_ctl_client.c \
	adapters/pd_ctl_impl.h \
	adapters/pd_ctl_server.c \
	adapters/pd_keys.c \
	adapters/pd_keys.h \
	adapters/pd_memory.c \
	adapters/pd_proto.c \
	adapters/pd_proto.h \
	adapters/pd_proto_impl.h \
	adapters/pd_proto_size.c \
	adapters/pd_proto_table.c \
	adapters/pd_proxy.c \
	adapters/pd_proxy.h \
	adapters/pd_recv.c \
	adapters/pd_recv.h \
	adapters/pd_recv_alloc.c \
	adapters/pd_recv_commit.c \
	adapters/pd_recv_foreign.c \
	adapters/pd_recv_impl.h \
	adapters/pd_recv_land.c \
	adapters/pd_recv_parts.h \
	adapters/pd_recv_peer.c \
	adapters/pd_recv_queue.c \
	adapters/pd_recv_ready.c \
	adapters/pd_recv_status.c \
	adapters/pd_scan.c \
	adapters/pd_scan.h \
	adapters/pd_send.c \
	adapters/pd_send.h \
	adapters/pd_send_answer.c \
	adapters/pd_send_ask.c \
	adapters/pd_send_batch.c \
	adapters/pd_send_batch.h \
	adapters/pd_send_done.c \
	adapters/pd_send_impl.h \
	adapters/pd_send_key.c \
	adapters/pd_send_peer.c \
	adapters/pd_transport.c \
	adapters/pd_transport.h \
	adapters/ucx.c \
	adapters/ucx_context.c \
	adapters/ucx_context.h
if HAVE_PD
adapters_sources += $(pd_sources)
endif
