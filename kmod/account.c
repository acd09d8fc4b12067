// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/spinlock.h>

#include "account.h"

static unsigned int max_captures_per_user = 64;
module_param(max_captures_per_user, uint, 0644);
MODULE_PARM_DESC(max_captures_per_user,
		 "maximum number of sessions and tracks of a user without CAP_SYS_RESOURCE");

/* All open accounts. */
static LIST_HEAD(gc_accounts);
static DEFINE_SPINLOCK(gc_accounts_lock);

static unsigned int gc_account_count(const struct user_struct *user)
{
	const struct gc_account *account;
	unsigned int count = 0;

	lockdep_assert_held(&gc_accounts_lock);
	list_for_each_entry(account, &gc_accounts, entry)
		count += account->cred->user == user;
	return count;
}

static int gc_account_add(struct gc_account *account)
{
	bool limited = !capable(CAP_SYS_RESOURCE);
	int err = 0;

	spin_lock(&gc_accounts_lock);
	if (limited && gc_account_count(account->cred->user) >= READ_ONCE(max_captures_per_user))
		err = -ENOSPC;
	else
		list_add(&account->entry, &gc_accounts);
	spin_unlock(&gc_accounts_lock);
	return err;
}

static int gc_account_charge(struct user_struct *user, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long old = atomic_long_read(&user->locked_vm);

	do {
		if (old + pages > limit)
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old, old + pages));
	return 0;
}

int gc_account_open(struct gc_account *account, u64 bytes)
{
	struct user_struct *user = current_user();
	int err;

	*account = (struct gc_account){ .cred = get_current_cred() };
	if (!capable(CAP_IPC_LOCK)) {
		account->pages = PAGE_ALIGN(bytes) >> PAGE_SHIFT;
		err = gc_account_charge(user, account->pages);
		if (err)
			goto put_cred;
	}
	err = gc_account_add(account);
	if (err)
		goto uncharge;
	return 0;

uncharge:
	atomic_long_sub(account->pages, &user->locked_vm);
put_cred:
	put_cred(account->cred);
	account->cred = NULL;
	return err;
}

void gc_account_close(struct gc_account *account)
{
	if (!account->cred)
		return;
	spin_lock(&gc_accounts_lock);
	list_del(&account->entry);
	spin_unlock(&gc_accounts_lock);
	atomic_long_sub(account->pages, &account->cred->user->locked_vm);
	put_cred(account->cred);
	account->cred = NULL;
}
