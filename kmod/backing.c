// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bits.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "backing.h"
#include "compat.h"

/* 16 TiB; the bitmap of touched pages then takes 512 MiB. */
#define GC_MAX_PAGES BIT_ULL(32)

static int gc_backing_check(struct file *file, u64 offset, u64 length)
{
	struct inode *inode = file_inode(file);
	u64 end;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (inode->i_sb->s_magic == HUGETLBFS_MAGIC)
		return -EOPNOTSUPP;
	/* shmem_mapping() is exported since 6.10 only. */
	if (inode->i_sb->s_magic != TMPFS_MAGIC || !S_ISREG(inode->i_mode))
		return -ENODEV;
	if (!length || !PAGE_ALIGNED(length) || !PAGE_ALIGNED(offset))
		return -EINVAL;
	if (length >> PAGE_SHIFT >= GC_MAX_PAGES)
		return -EFBIG;
	if (check_add_overflow(offset, length, &end) || end > i_size_read(inode))
		return -ERANGE;
	return 0;
}

int gc_backing_init(struct gc_backing *backing, int fd, u64 offset, u64 length)
{
	struct file *file = fget(fd);
	int err;

	if (!file)
		return -EBADF;
	err = gc_backing_check(file, offset, length);
	if (err) {
		fput(file);
		return err;
	}
	*backing = (struct gc_backing){
		.file = file,
		.first = offset >> PAGE_SHIFT,
		.pages = length >> PAGE_SHIFT,
	};
	return 0;
}

void gc_backing_destroy(struct gc_backing *backing)
{
	fput(backing->file);
}

int gc_backing_map(struct gc_backing *backing, struct vm_area_struct *vma)
{
	int err;

	vma->vm_pgoff += backing->first;
	vma_set_file(vma, backing->file);
	err = backing->file->f_op->mmap(backing->file, vma);
	if (err)
		return err;
	/* We replace open and close, so the file must not have any of its own. */
	if (!vma->vm_ops || !vma->vm_ops->fault || vma->vm_ops->open || vma->vm_ops->close)
		return -ENODEV;
	WRITE_ONCE(backing->ops, vma->vm_ops);
	/*
	 * DONTEXPAND also makes the VMA special: never merged with a plain mapping of the file,
	 * never collapsed into a huge page by khugepaged or MADV_COLLAPSE (MADV_HUGEPAGE, which
	 * QEMU calls on all its RAM, would undo NOHUGEPAGE). DONTDUMP: a core dump must not touch
	 * every page.
	 */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_NOHUGEPAGE);
	return 0;
}

/*
 * When the file has a huge page here and the PMD is empty, finish_fault() (mm/memory.c) would map
 * all of its 2 MiB, whatever the VMA's flags say on 6.1, and hide 511 first touches. It does not
 * when there is a page table.
 */
static int gc_backing_fill_pmd(struct vm_fault *vmf)
{
	if (likely(!pmd_none(*vmf->pmd)))
		return 0;
	return apply_to_page_range(vmf->vma->vm_mm, vmf->address & PAGE_MASK, PAGE_SIZE,
				   NULL, NULL);
}

vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf)
{
	vm_fault_t ret;

	if (gc_backing_fill_pmd(vmf))
		return VM_FAULT_OOM;
	ret = READ_ONCE(backing->ops)->fault(vmf);
	/* VM_FAULT_RETRY may mean that the mmap lock is gone, and with it the VMA. */
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY | VM_FAULT_DONE_COW))
		return ret;
	/*
	 * khugepaged, collapsing the file, may have taken the page table away since
	 * (retract_page_tables(), mm/khugepaged.c). It holds the huge page's lock meanwhile, which
	 * now is ours; so what we see stays. We do not allocate under that lock, but start again.
	 */
	if (unlikely(pmd_none(*vmf->pmd))) {
		if (ret & VM_FAULT_LOCKED)
			unlock_page(vmf->page);
		put_page(vmf->page);
		vmf->page = NULL;
		return VM_FAULT_NOPAGE;
	}
	return ret;
}

void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count)
{
	unmap_mapping_range(backing->file->f_mapping,
			    (loff_t)(backing->first + first) << PAGE_SHIFT,
			    (loff_t)count << PAGE_SHIFT, 0);
}
