/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory of one session, for a guide to map: a file without a name, of a file system of the
 * module's own. Another process gets it only from one that has it: by inheritance, by SCM_RIGHTS,
 * or through /proc/PID/fd, which is subject to the checks of ptrace(2).
 *
 * A node owns its session and its backing. The inode owns the node; it is referenced by the control
 * file and by each open file of the node. Each VMA holds a reference to the node's file that it was
 * created from (its vm_file is the backing file), and so does a thread asleep in a fault. These
 * file references also keep the module from being unloaded.
 */
#ifndef GC_NODE_H
#define GC_NODE_H

#include "account.h"
#include "backing.h"
#include "capture.h"

struct file;
struct inode;

struct gc_node {
	struct gc_capture capture;
	struct gc_backing backing;
	struct gc_account account;
	struct inode *inode;
};

/* Creates a session and the first file of its node. Errors: those of GC_IOC_SESSION_CREATE. */
struct gc_capture *gc_node_create(const struct gc_session_create *arg, struct file **file);

#endif /* GC_NODE_H */
