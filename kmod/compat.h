/* SPDX-License-Identifier: GPL-2.0-only */
/* Every difference between the kernels that this module builds on. */
#ifndef GC_COMPAT_H
#define GC_COMPAT_H

#include <linux/device.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	mmap_assert_write_locked(vma->vm_mm);
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	mmap_assert_write_locked(vma->vm_mm);
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

/* 6.2: the callbacks of a device_type take a const device. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define GC_DEVNODE_CONST
#else
#define GC_DEVNODE_CONST const
#endif

#endif /* GC_COMPAT_H */
