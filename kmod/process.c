// SPDX-License-Identifier: GPL-2.0-only
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "compat.h"
#include "process.h"

#define GC_LOCK_TRIES 1000

/*
 * Returns the memory of the program that the task runs, or an error if the caller lacks the
 * capability over it that ptrace(2) and process_vm_readv(2) require.
 */
static struct mm_struct *gc_task_get_mm(struct task_struct *task)
{
	struct mm_struct *mm;

	/* As in mm_access(): execve(2) may start a program that the caller has no right to. */
	if (down_read_killable(&task->signal->exec_update_lock))
		return ERR_PTR(-EINTR);
	mm = get_task_mm(task);
	if (!mm) {
		mm = ERR_PTR(-ESRCH);
	} else if (!gc_has_capability_over(task, mm, CAP_SYS_PTRACE)) {
		mmput(mm);
		mm = ERR_PTR(-EPERM);
	}
	up_read(&task->signal->exec_update_lock);
	return mm;
}

static struct mm_struct *gc_process_get_mm(pid_t nr)
{
	struct pid *pid = find_get_pid(nr);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	struct mm_struct *mm;

	put_pid(pid);
	if (!task)
		return ERR_PTR(-ESRCH);
	mm = gc_task_get_mm(task);
	put_task_struct(task);
	return mm;
}

static bool gc_vma_is_readable(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_READ) && !(vma->vm_flags & (VM_IO | VM_PFNMAP));
}

static bool gc_process_is_readable(struct mm_struct *mm, unsigned long address, unsigned long end)
{
	const struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);
	for (; address < end; address = vma->vm_end) {
		vma = find_vma(mm, address);
		if (!vma || vma->vm_start > address || !gc_vma_is_readable(vma))
			return false;
	}
	return true;
}

static int gc_process_check(struct mm_struct *mm, u64 address, u64 length)
{
	u64 end;
	bool has;

	if (check_add_overflow(address, length, &end) || end > TASK_SIZE_MAX)
		return -ERANGE;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	has = gc_process_is_readable(mm, address, end);
	mmap_read_unlock(mm);
	return has ? 0 : -ERANGE;
}

int gc_process_init(struct gc_process *process, pid_t pid, u64 address, u64 length)
{
	struct mm_struct *mm = gc_process_get_mm(pid);
	int err;

	if (IS_ERR(mm))
		return PTR_ERR(mm);
	err = gc_process_check(mm, address, length);
	if (!err) {
		/* Pins the struct alone, so that an exiting process frees its memory. */
		mmgrab(mm);
		*process = (struct gc_process){ .mm = mm, .address = address };
	}
	mmput(mm);
	return err;
}

void gc_process_destroy(struct gc_process *process)
{
	mmdrop(process->mm);
}

/*
 * Tells the two meanings of EFAULT apart. With FOLL_DUMP, get_user_pages_remote() fails with it for
 * memory that was never touched, instead of allocating a page, and for unreadable memory alike.
 */
static bool gc_process_is_untouched(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma = find_vma(mm, address);

	lockdep_assert_held(&mm->mmap_lock);
	return vma && vma->vm_start <= address && gc_vma_is_readable(vma) &&
	       (vma_is_anonymous(vma) || is_vm_hugetlb_page(vma));
}

static int gc_process_get_locked(struct mm_struct *mm, unsigned long address, struct page **page)
{
	long got = gc_get_user_page_remote(mm, address, FOLL_DUMP, page);

	if (got == 1)
		return 0;
	if (got == -EFAULT && gc_process_is_untouched(mm, address)) {
		*page = NULL;
		return 0;
	}
	return got < 0 ? got : -EFAULT;
}

/* The caller holds an mmap lock already: waiting for a second one without bound could deadlock. */
static int gc_process_try_lock(struct mm_struct *mm)
{
	unsigned int tries;

	for (tries = 0; tries < GC_LOCK_TRIES; tries++) {
		if (mmap_read_trylock(mm))
			return 0;
		usleep_range(50, 100);
	}
	return -EAGAIN;
}

int gc_process_get_page(struct gc_process *process, u64 index, bool locked, struct page **page)
{
	unsigned long address = process->address + (index << PAGE_SHIFT);
	struct mm_struct *mm = process->mm;
	int err;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	err = locked ? gc_process_try_lock(mm) : mmap_read_lock_killable(mm);
	if (!err) {
		err = gc_process_get_locked(mm, address, page);
		mmap_read_unlock(mm);
	}
	/* async: the last reference tears the memory down, which a page fault must not do. */
	mmput_async(mm);
	return err;
}
