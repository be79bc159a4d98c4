/* Status codes of the hbUCP and hbDNN calls. */
#ifndef HOBOT_HB_UCP_STATUS_H_
#define HOBOT_HB_UCP_STATUS_H_

typedef enum hbUCPStatus {
  HB_UCP_SUCCESS = 0,
  /* use */
  HB_UCP_INVALID_ARGUMENT = -100001,     /* null, out of range, an unknown handle of a model, a wrong shape or size */
  HB_UCP_API_USE_ERROR = -100002,        /* a call at the wrong time: submitted twice, waited for before submission */
  HB_UCP_INIT_FAILED = -100003,          /* the system gives no threads */
  HB_UCP_UNKNOWN = -100004,              /* an error of the library itself */
  HB_UCP_VERSION_INCOMPATIBLE = -100005, /* not returned */
  /* tasks */
  HB_UCP_TASK_NUMBER_EXCEED_LIMIT = -200001, /* too many tasks that are not released */
  HB_UCP_TASK_TIMEOUT = -200002,             /* not done within the time given */
  HB_UCP_TASK_RUN_FAILED = -200003,          /* the program stopped itself, or the process exits or forked */
  HB_UCP_TASK_HANDLE_INVALID = -200004,      /* null, never created or already released */
  /* operations */
  HB_UCP_OP_NUMBER_EXCEED = -300001,   /* too many sub-tasks in a task */
  HB_UCP_OP_NOT_REGISTER = -300002,    /* not returned */
  HB_UCP_OP_CMD_UNAVAILABLE = -300003, /* not returned */
  /* memory */
  HB_UCP_MEM_ALLOC_FAILED = -400001,
  HB_UCP_MEM_FREE_FAILED = -400002,       /* a task that is under way uses it */
  HB_UCP_MEM_FLUSH_FAILED = -400003,      /* not returned */
  HB_UCP_MEM_INVALIDATE_FAILED = -400004, /* not returned */
  HB_UCP_MEM_IS_INVALID = -400005,        /* not of hbUCPMalloc or hbUCPMallocCached, or already freed */
  HB_UCP_MEM_MAP_FAILED = -400006,        /* not returned */
  HB_UCP_MEM_UNMAP_FAILED = -400007,      /* not returned */
  /* files and models */
  HB_UCP_FILE_OPEN_FAILED = -500001,
  HB_UCP_MODEL_NUMBER_EXCEED = -600001, /* too many models are loaded */
  HB_UCP_MODEL_INVALID = -600002,       /* damaged, no .bpux file, or a name that is there twice */
  HB_UCP_MODEL_IS_INUSE = -600003,      /* a task that is under way uses it */
  HB_UCP_MODEL_INCOMPATIBLE = -600004   /* a .bpux file of another version */
} hbUCPStatus;

#endif
