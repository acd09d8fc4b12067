/* SPDX-License-Identifier: GPL-2.0-only */
/* Every difference between the kernels that this module builds on. */
#ifndef GC_COMPAT_H
#define GC_COMPAT_H

#include <linux/device.h>
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

/* 6.4: faults under the lock of the VMA alone. */
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

/* 6.5: get_user_pages_remote() gives no VMAs. Takes one page; the lock is held throughout. */
static inline long gc_get_user_page_remote(struct mm_struct *mm, unsigned long address,
					   unsigned int flags, struct page **page)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	return get_user_pages_remote(mm, address, 1, flags, page, NULL, NULL);
#else
	return get_user_pages_remote(mm, address, 1, flags, page, NULL);
#endif
}

/* 6.3: a range of a notifier names no VMA. */
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

/* 6.2: the callbacks of a device_type take a const device. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define GC_DEVNODE_CONST
#else
#define GC_DEVNODE_CONST const
#endif

#endif /* GC_COMPAT_H */
