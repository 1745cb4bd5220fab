/* registry.c - every adapter of this build. Constant data; an adapter is added by one line. */
#include "config.h"

#include "registry.h"

const struct adapter_ops *const adapter_registry[] = {
    &fs_adapter, &mock_adapter, &null_adapter, &fault_adapter, &fault_inject_adapter,
#ifdef HAVE_PD
    &pd_adapter,
#endif
    NULL,
};
