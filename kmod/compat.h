/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All differences between the kernel versions that the module supports: 6.1, 6.12, 7.2 and 7.3. The
 * version is not asked where a kernel's headers can be: Kbuild defines GC_HAS_....
 */
#ifndef GC_COMPAT_H
#define GC_COMPAT_H

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/shmem_fs.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

/* Before 7.2, <linux/pagevec.h> was renamed. */
#ifdef GC_HAS_FOLIO_BATCH
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

/* Before 7.2, the user namespace that a program's privileges count in moved from mm to task. */
#ifdef GC_HAS_EXEC_STATE
#include <linux/sched/exec_state.h>
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	lockdep_assert_held_write(&vma->vm_mm->mmap_lock);
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	lockdep_assert_held_write(&vma->vm_mm->mmap_lock);
	vma->vm_flags &= ~flags;
}
#endif

/* 6.4 handles faults under the VMA's lock alone. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
static inline void gc_release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#else
static inline void gc_release_fault_lock(struct vm_fault *vmf)
{
	release_fault_lock(vmf);
}
#endif

/* 6.5 dropped the VMAs from get_user_pages_remote(). Gets one page; never drops the mmap lock. */
static inline long gc_get_user_page_remote(struct mm_struct *mm, unsigned long address,
					   unsigned int flags, struct page **page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	return get_user_pages_remote(mm, address, 1, flags, page, NULL, NULL);
#else
	return get_user_pages_remote(mm, address, 1, flags, page, NULL);
#endif
}

/* 6.3 dropped the VMA from struct mmu_notifier_range. */
static inline void gc_notifier_range_init(struct mmu_notifier_range *range, struct mm_struct *mm,
					  unsigned long start, unsigned long end)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, MMU_NOTIFIER_RANGE_BLOCKABLE, NULL, mm,
				start, end);
#else
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, MMU_NOTIFIER_RANGE_BLOCKABLE, mm, start,
				end);
#endif
}

/*
 * 6.16 lets a file have mmap_prepare() instead of mmap(), which call_mmap() takes into account;
 * shmem's has in 7.2. 6.17 renamed it.
 */
static inline int gc_call_mmap(struct file *file, struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
	return call_mmap(file, vma);
#else
	return vfs_mmap(file, vma);
#endif
}

/* 6.13 added hrtimer_setup(), 6.15 dropped hrtimer_init(). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *timer),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/*
 * Returns whether the caller has a capability over the program that a task runs. The caller holds
 * exec_update_lock, so that mm is that program's.
 */
static inline bool gc_has_capability_over(struct task_struct *task, struct mm_struct *mm, int cap)
{
#ifdef GC_HAS_EXEC_STATE
	bool has;

	/* As in __ptrace_may_access(). */
	rcu_read_lock();
	has = ns_capable(rcu_dereference(task->exec_state)->user_ns, cap);
	rcu_read_unlock();
	return has;
#else
	return ns_capable(mm->user_ns, cap);
#endif
}

/* Before 7.2, shmem_file_setup() got a type of its own for flags. */
#define GC_SHMEM_FILE_SETUP_TAKES_LONG \
	__builtin_types_compatible_p(typeof(shmem_file_setup), \
				     struct file *(const char *, loff_t, unsigned long))

static inline struct file *gc_shmem_file_setup_noreserve(const char *name, loff_t size)
{
#ifdef mk_vma_flags
	return shmem_file_setup(name, size,
				__builtin_choose_expr(GC_SHMEM_FILE_SETUP_TAKES_LONG, VM_NORESERVE,
						      mk_vma_flags(VMA_NORESERVE_BIT)));
#else
	return shmem_file_setup(name, size, VM_NORESERVE);
#endif
}

/* 6.16 gave DECLARE_TRACE() another meaning: the tracepoint's name gets a suffix. */
#ifndef DECLARE_TRACE_EVENT
#define DECLARE_TRACE_EVENT DECLARE_TRACE
#endif

/* What inode operations get to map the ids of a mount. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define GC_IDMAP struct user_namespace
#else
#define GC_IDMAP struct mnt_idmap
#endif

#endif /* GC_COMPAT_H */
