/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits per user, so that the users of /dev/guidecopy cannot take all of the kernel's memory: of
 * the memory that their sessions and tracks keep, and of their number.
 */
#ifndef GC_ACCOUNT_H
#define GC_ACCOUNT_H

#include <linux/list.h>
#include <linux/types.h>

struct cred;

/* The account of one session or track. Zeroed until opened. */
struct gc_account {
	struct list_head entry;
	/* Pins the user: not all of 6.1 export free_uid(). */
	const struct cred *cred;
	unsigned long pages; /* charged to the user */
};

/*
 * Opens an account for the calling user and charges bytes, as io_uring and iommufd do: against
 * RLIMIT_MEMLOCK, unless the caller has CAP_IPC_LOCK. Errors: ENOMEM the limit is exceeded, ENOSPC
 * the user has max_captures_per_user accounts and the caller lacks CAP_SYS_RESOURCE.
 */
int gc_account_open(struct gc_account *account, u64 bytes);

/* No-op if the account is not open. */
void gc_account_close(struct gc_account *account);

#endif /* GC_ACCOUNT_H */
