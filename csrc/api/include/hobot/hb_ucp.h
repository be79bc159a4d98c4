/* Tasks: submission, waiting, call-backs. Every call is safe from any thread. */
#ifndef HOBOT_HB_UCP_H_
#define HOBOT_HB_UCP_H_

#include <stdint.h>

#include "hobot/hb_ucp_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HB_UCP_API __attribute__((visibility("default")))
#else
#define HB_UCP_API
#endif

/* A number in a pointer's clothes: not to be dereferenced. One that was released is never given out again. */
typedef void *hbUCPTaskHandle_t;

/* Comes once, when the task has ended and before hbUCPWaitTaskDone returns, on a thread of the library: keep it short.
 * It may release the task; it must not wait for another. */
typedef void (*hbUCPTaskDoneCb)(hbUCPTaskHandle_t taskHandle, int32_t status, void *userdata);

/* Up to 253: queued, higher ones first. 254 stops tasks below 254 between two instructions, 255 those below 255. */
enum { HB_UCP_PRIORITY_LOWEST = 0, HB_UCP_PRIORITY_PREEMP = 254, HB_UCP_PRIORITY_HIGHEST = 255 };

/* Bits of hbUCPSchedParam.backend. A task runs on one of the cores named; a core that the machine lacks stands for one
 * that it has. */
#define HB_UCP_CORE_ANY UINT64_C(0)
#define HB_UCP_BPU_CORE_0 (UINT64_C(1) << 0)
#define HB_UCP_BPU_CORE_1 (UINT64_C(1) << 1)
#define HB_UCP_BPU_CORE_2 (UINT64_C(1) << 2)
#define HB_UCP_BPU_CORE_3 (UINT64_C(1) << 3)
#define HB_UCP_BPU_CORE_ANY (UINT64_C(1) << 7)

typedef struct hbUCPSchedParam {
  int32_t priority;
  int64_t customId; /* among equal priorities the smaller goes first, then who came first */
  uint64_t backend;
  uint32_t deviceId; /* 0 */
} hbUCPSchedParam;

/* Fills in the lowest priority and any core; takes a pointer. */
#define HB_UCP_INITIALIZE_SCHED_PARAM(param)    \
  do {                                          \
    (param)->priority = HB_UCP_PRIORITY_LOWEST; \
    (param)->customId = 0;                      \
    (param)->backend = HB_UCP_CORE_ANY;         \
    (param)->deviceId = 0;                      \
  } while (0)

/* Owned by the library. */
HB_UCP_API const char *hbUCPGetVersion(void);
HB_UCP_API const char *hbUCPGetSocName(void);
HB_UCP_API const char *hbUCPGetErrorDesc(int32_t status);
HB_UCP_API int32_t hbUCPFlushLog(void);

/* Puts a task of hbDNNInferV2 into the queue, once. */
HB_UCP_API int32_t hbUCPSubmitTask(hbUCPTaskHandle_t taskHandle, hbUCPSchedParam *schedParam);

/* Gives the status of the task, or HB_UCP_TASK_TIMEOUT after `timeout` milliseconds (0: never), and the task goes on.
 */
HB_UCP_API int32_t hbUCPWaitTaskDone(hbUCPTaskHandle_t taskHandle, int32_t timeout);

/* Before submission. A null `callback` removes it. */
HB_UCP_API int32_t hbUCPSetTaskDoneCb(hbUCPTaskHandle_t taskHandle, hbUCPTaskDoneCb callback, void *userdata);

/* A task that was not submitted, or has ended. HB_UCP_API_USE_ERROR while it is under way. */
HB_UCP_API int32_t hbUCPReleaseTask(hbUCPTaskHandle_t taskHandle);

#ifdef __cplusplus
}
#endif

#endif
