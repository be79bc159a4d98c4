/* Memory that tasks read and write. */
#ifndef HOBOT_HB_UCP_SYS_H_
#define HOBOT_HB_UCP_SYS_H_

#include <stdint.h>

#include "hobot/hb_ucp.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hbUCPSysMem {
  uint64_t phyAddr; /* equal to virAddr here */
  void *virAddr;
  uint64_t memSize;
} hbUCPSysMem;

typedef enum hbUCPSysMemFlushFlag {
  HB_SYS_MEM_CACHE_INVALIDATE = 1, /* before the CPU reads what a task wrote */
  HB_SYS_MEM_CACHE_CLEAN = 2       /* after the CPU wrote what a task will read */
} hbUCPSysMemFlushFlag;

/* Zeroed memory, aligned to 64 bytes. Both kinds are the same on a machine whose tasks run on its CPU. deviceId: 0. */
HB_UCP_API int32_t hbUCPMalloc(hbUCPSysMem *mem, uint64_t size, int32_t deviceId);
HB_UCP_API int32_t hbUCPMallocCached(hbUCPSysMem *mem, uint64_t size, int32_t deviceId);

/* HB_UCP_MEM_FREE_FAILED while a task uses it. */
HB_UCP_API int32_t hbUCPFree(hbUCPSysMem *mem);

/* `mem` may be part of an allocation. Orders the caller's accesses before and after; nothing else is needed here. */
HB_UCP_API int32_t hbUCPMemFlush(const hbUCPSysMem *mem, int32_t flag);

#ifdef __cplusplus
}
#endif

#endif
