/* registry.h - the adapters of this build, by name. Level 2. */
#ifndef L2FS_REGISTRY_H
#define L2FS_REGISTRY_H

#include "adapter.h"

extern const struct adapter_ops fault_adapter;
extern const struct adapter_ops fault_inject_adapter;
extern const struct adapter_ops fs_adapter;
extern const struct adapter_ops mock_adapter;
extern const struct adapter_ops null_adapter;
extern const struct adapter_ops pd_adapter; /* with HAVE_PD */

#endif
