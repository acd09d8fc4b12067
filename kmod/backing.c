// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bits.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/shmem_fs.h>

#include <guidecopy.h>

#include "backing.h"
#include "compat.h"

static int gc_backing_check_range(u64 offset, u64 length)
{
	if (!length || !PAGE_ALIGNED(length) || !PAGE_ALIGNED(offset))
		return -EINVAL;
	return length >> PAGE_SHIFT >= GC_MAX_PAGES ? -EFBIG : 0;
}

static int gc_backing_check_file(struct file *file, u64 offset, u64 length)
{
	struct inode *inode = file_inode(file);
	u64 end;
	int err;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (inode->i_sb->s_magic == HUGETLBFS_MAGIC)
		return -EOPNOTSUPP;
	/* shmem_mapping() is exported since 6.10 only. */
	if (inode->i_sb->s_magic != TMPFS_MAGIC || !S_ISREG(inode->i_mode))
		return -ENODEV;
	err = gc_backing_check_range(offset, length);
	if (err)
		return err;
	return check_add_overflow(offset, length, &end) || end > i_size_read(inode) ? -ERANGE : 0;
}

static int gc_backing_init_file(struct gc_backing *backing, int fd, u64 offset, u64 length)
{
	struct file *file = fget(fd);
	int err;

	if (!file)
		return -EBADF;
	err = gc_backing_check_file(file, offset, length);
	if (err) {
		fput(file);
		return err;
	}
	backing->file = file;
	backing->first = offset >> PAGE_SHIFT;
	return 0;
}

static int gc_backing_init_process(struct gc_backing *backing, pid_t pid, u64 address, u64 length)
{
	int err = gc_backing_check_range(address, length);

	if (err)
		return err;
	err = gc_process_init(&backing->process, pid, address, length);
	if (err)
		return err;
	err = gc_pageset_init(&backing->copied, length >> PAGE_SHIFT);
	if (err)
		goto destroy_process;
	/* NORESERVE: what may never be copied is not to be set aside. */
	backing->file = shmem_file_setup("guidecopy", length, VM_NORESERVE);
	err = PTR_ERR_OR_ZERO(backing->file);
	if (err)
		goto destroy_copied;
	return 0;

destroy_copied:
	gc_pageset_destroy(&backing->copied);
destroy_process:
	gc_process_destroy(&backing->process);
	return err;
}

int gc_backing_init(struct gc_backing *backing, const struct gc_session_create *arg)
{
	bool process = arg->flags & GC_SESSION_PROCESS;

	*backing = (struct gc_backing){ .pages = arg->length >> PAGE_SHIFT };
	init_rwsem(&backing->forget);
	spin_lock_init(&backing->lock);
	if (process ? arg->backing_fd != -1 || arg->pid <= 0 : arg->pid)
		return -EINVAL;
	if (process)
		return gc_backing_init_process(backing, arg->pid, arg->backing_offset, arg->length);
	return gc_backing_init_file(backing, arg->backing_fd, arg->backing_offset, arg->length);
}

void gc_backing_destroy(struct gc_backing *backing)
{
	fput(backing->file);
	if (gc_backing_copies(backing)) {
		gc_pageset_destroy(&backing->copied);
		gc_process_destroy(&backing->process);
	}
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

vm_fault_t gc_backing_refuse(struct vm_fault *vmf, vm_fault_t ret)
{
	if (ret & VM_FAULT_LOCKED)
		unlock_page(vmf->page);
	put_page(vmf->page);
	vmf->page = NULL;
	return VM_FAULT_NOPAGE;
}

static vm_fault_t gc_backing_fault_file(struct gc_backing *backing, struct vm_fault *vmf)
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
	if (unlikely(pmd_none(*vmf->pmd)))
		return gc_backing_refuse(vmf, ret);
	return ret;
}

vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf)
{
	vm_fault_t ret;

	if (!gc_backing_copies(backing))
		return gc_backing_fault_file(backing, vmf);
	/* From the test until the page is locked no copy may go away: the file would give zeros. */
	down_read(&backing->forget);
	if (gc_backing_needs_copy(backing, gc_backing_index(backing, vmf)))
		ret = VM_FAULT_NOPAGE;
	else
		ret = gc_backing_fault_file(backing, vmf);
	up_read(&backing->forget);
	return ret;
}

static int gc_backing_install(struct gc_backing *backing, u64 index, struct page *content)
{
	struct page *page = shmem_read_mapping_page(backing->file->f_mapping, index);

	if (IS_ERR(page))
		return PTR_ERR(page);
	lock_page(page);
	if (gc_backing_needs_copy(backing, index)) {
		/* A page that shmem made is zeros. */
		if (content)
			copy_highpage(page, content);
		set_page_dirty(page);
		spin_lock(&backing->lock);
		gc_pageset_set(&backing->copied, index, 1);
		spin_unlock(&backing->lock);
	}
	unlock_page(page);
	put_page(page);
	return 0;
}

int gc_backing_copy(struct gc_backing *backing, u64 index, bool locked)
{
	struct page *content;
	int err;

	/* First, and without any lock of ours: it takes the mmap lock of the process. */
	err = gc_process_get_page(&backing->process, index, locked, &content);
	if (err)
		return err;
	down_read(&backing->forget);
	err = gc_backing_install(backing, index, content);
	up_read(&backing->forget);
	if (content)
		put_page(content);
	return err;
}

void gc_backing_settle(struct gc_backing *backing, u64 first, u64 count)
{
	pgoff_t index = backing->first + first;
	pgoff_t last = index + count - 1;
	struct folio_batch batch;
	unsigned int i;

	/* Copies go away under the page's lock. */
	if (gc_backing_copies(backing))
		return;
	/* Pairs with the barrier in gc_node_serve(): we see its page, or it sees what we did. */
	smp_mb();
	folio_batch_init(&batch);
	while (filemap_get_folios(backing->file->f_mapping, &index, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			folio_lock(batch.folios[i]);
			folio_unlock(batch.folios[i]);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
}

static void gc_backing_unmap_file(struct gc_backing *backing, u64 first, u64 count)
{
	unmap_mapping_range(backing->file->f_mapping,
			    (loff_t)(backing->first + first) << PAGE_SHIFT,
			    (loff_t)count << PAGE_SHIFT, 0);
}

void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count)
{
	if (!gc_backing_copies(backing)) {
		gc_backing_unmap_file(backing, first, count);
		return;
	}
	down_write(&backing->forget);
	spin_lock(&backing->lock);
	gc_pageset_clear(&backing->copied, first, count);
	spin_unlock(&backing->lock);
	gc_backing_unmap_file(backing, first, count);
	shmem_truncate_range(file_inode(backing->file), (loff_t)first << PAGE_SHIFT,
			     ((loff_t)(first + count) << PAGE_SHIFT) - 1);
	up_write(&backing->forget);
}

u64 gc_backing_copied(struct gc_backing *backing)
{
	return gc_backing_copies(backing) ? READ_ONCE(backing->copied.set) : 0;
}
