/* SPDX-License-Identifier: GPL-2.0-only */
/* All differences between the kernel versions that the module supports, 6.1 to 6.12. */
#ifndef GC_COMPAT_H
#define GC_COMPAT_H

#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/version.h>

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
 * 6.16 lets a file have mmap_prepare() instead of mmap(), which call_mmap() takes into account.
 * 6.17 renamed it. The module has not been built for either.
 */
static inline int gc_call_mmap(struct file *file, struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
	return call_mmap(file, vma);
#else
	return vfs_mmap(file, vma);
#endif
}

/* 6.13 added hrtimer_setup(), 6.15 dropped hrtimer_init(). Not built for 6.13 and later. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *timer),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* What inode operations get to map the ids of a mount. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define GC_IDMAP struct user_namespace
#else
#define GC_IDMAP struct mnt_idmap
#endif

#endif /* GC_COMPAT_H */
