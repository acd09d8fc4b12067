// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/file_locks.h"

#include "util/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace gc {
namespace {

TEST(FileLocks, CountsThoseOnWriting) {
    constexpr const char* text = "1: OFDLCK ADVISORY  READ  -1 08:01:7 100 101\n"
                                 "2: OFDLCK ADVISORY  READ  -1 08:01:7 201 201\n"
                                 "3: OFDLCK ADVISORY  READ  -1 08:01:7 100 100\n"
                                 "4: OFDLCK ADVISORY  READ  -1 08:01:77 101 101\n"
                                 "5: -> OFDLCK ADVISORY  READ  -1 08:01:7 101 101\n"
                                 "6: POSIX  ADVISORY  WRITE 12 08:01:7 0 EOF\n"
                                 "7: FLOCK  ADVISORY  WRITE 12 08:01:7 0 EOF\n"
                                 "lock:\t8: OFDLCK ADVISORY  READ  -1 08:01:7 200 203\n"
                                 "pos:\t0\n\n8:";
    EXPECT_EQ(count_write_locks(text, makedev(8, 1), 7), 4U);
    EXPECT_EQ(count_write_locks(text, makedev(8, 2), 7), 0U);
    EXPECT_EQ(count_write_locks("", makedev(8, 1), 7), 0U);
}

TEST(FileLocks, SeesALockOfThisProcess) {
    char name[] = "/tmp/gc-file-locks-XXXXXX";
    const UniqueFd file(::mkstemp(name));
    ASSERT_TRUE(file);
    ::unlink(name);
    struct stat status {};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    EXPECT_EQ(write_locks_on(status.st_dev, status.st_ino).value(), 0U);
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 101;
    lock.l_len = 1;
    ASSERT_EQ(::fcntl(file.get(), F_OFD_SETLK, &lock), 0);
    EXPECT_EQ(write_locks_on(status.st_dev, status.st_ino).value(), 1U);
    EXPECT_EQ(write_locks_of(::getpid(), status.st_dev, status.st_ino).value(), 1U);
    EXPECT_EQ(write_locks_of(::getppid(), status.st_dev, status.st_ino).value_or(0), 0U);
}

}  // namespace
}  // namespace gc
