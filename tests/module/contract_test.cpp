// SPDX-License-Identifier: GPL-2.0-or-later
// What user space may ask, and what it is told when it asks for something else (guidecopy.h).
#include "raw_capture.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::capture::test {
namespace {

gc_session_create valid_create(int backing, std::uint64_t length = page_size) {
    auto arg = argument<gc_session_create>();
    arg.backing_fd = backing;
    arg.ring_entries = small_ring;
    arg.length = length;
    return arg;
}

/// Creates a session without a descriptor of its node. @return errno, 0 on success
int create_session(const UniqueFd& control, gc_session_create arg) {
    const int error = errno_of(control.get(), GC_IOC_SESSION_CREATE, &arg);
    if (error == 0)
        ::close(arg.node_fd);
    return error;
}

int create_errno(const gc_session_create& arg) {
    return create_session(open_control(), arg);
}

struct Command {
    const char* name;
    unsigned long request;
    std::size_t size;
    std::size_t first_size;  // of the struct's first version
    std::uint32_t flags;     // that are known
    int well_formed;         // errno of an argument whose form is right
};

constexpr std::array commands{
    Command{"SESSION_CREATE", GC_IOC_SESSION_CREATE, sizeof(gc_session_create),
            sizeof(gc_session_create), GC_SESSION_PROCESS, 0},
    Command{"REARM", GC_IOC_REARM, sizeof(gc_rearm), sizeof(gc_rearm), 0, 0},
    Command{"KICK", GC_IOC_KICK, sizeof(gc_kick), sizeof(gc_kick), 0, 0},
    Command{"STATS", GC_IOC_STATS, sizeof(gc_stats), offsetof(gc_stats, copied), 0, 0},
    // Without a VM, and on a session.
    Command{"TRACK_CREATE", GC_IOC_TRACK_CREATE, sizeof(gc_track_create), sizeof(gc_track_create),
            0, EBADF},
    Command{"SCAN", GC_IOC_SCAN, sizeof(gc_scan), sizeof(gc_scan), 0, ENOTTY},
};

bool creates(const Command& command) {
    return command.request == GC_IOC_SESSION_CREATE || command.request == GC_IOC_TRACK_CREATE;
}

constexpr gc_range some_range{.address = page_size, .length = page_size};

/// An argument that would be accepted if it were not for its size, with room for a bigger one.
std::vector<std::byte> argument_for(const Command& command, int backing) {
    std::vector<std::byte> bytes(3 * page_size);
    if (command.request == GC_IOC_SESSION_CREATE) {
        const gc_session_create arg = valid_create(backing);
        std::memcpy(bytes.data(), &arg, sizeof(arg));
    } else if (command.request == GC_IOC_REARM) {
        const gc_rearm arg{.size = 0, .flags = 0, .first = 0, .count = 1};
        std::memcpy(bytes.data(), &arg, sizeof(arg));
    } else if (command.request == GC_IOC_TRACK_CREATE) {
        gc_track_create arg{};
        arg.kvm_fd = -1;
        arg.mode = GC_TRACK_ORDER;
        arg.range_count = 1;
        arg.ranges = reinterpret_cast<std::uintptr_t>(&some_range);
        std::memcpy(bytes.data(), &arg, sizeof(arg));
    }
    return bytes;
}

void set_word(std::vector<std::byte>& bytes, std::size_t index, std::uint32_t value) {
    std::memcpy(bytes.data() + index * sizeof(value), &value, sizeof(value));
}

class Contract : public testing::Test {
  protected:
    /// The command on a control file in the state that it needs.
    int run(const Command& command, std::vector<std::byte>& argument) {
        const UniqueFd control = open_control();
        if (!creates(command)) {
            EXPECT_EQ(create_session(control, valid_create(file_.get())), 0);
        }
        const int error = errno_of(control.get(), command.request, argument.data());
        if (error == 0 && command.request == GC_IOC_SESSION_CREATE)
            ::close(reinterpret_cast<const gc_session_create*>(argument.data())->node_fd);
        return error;
    }

    UniqueFd file_ = memory_file(16);
};

TEST_F(Contract, SizeOfTheArgument) {
    for (const Command& command : commands) {
        SCOPED_TRACE(command.name);
        const auto sized = [&](std::size_t size) {
            auto argument = argument_for(command, file_.get());
            set_word(argument, 0, static_cast<std::uint32_t>(size));
            return run(command, argument);
        };
        for (std::size_t size = 0; size < command.first_size; ++size)
            EXPECT_EQ(sized(size), EINVAL) << size;
        for (std::size_t size = command.first_size; size <= command.size; ++size)
            EXPECT_EQ(sized(size), command.well_formed) << size;
        EXPECT_EQ(sized(command.size + 8), command.well_formed) << "zeros of a later version";
        EXPECT_EQ(sized(page_size), command.well_formed);
        EXPECT_EQ(sized(page_size + 1), E2BIG);
        EXPECT_EQ(sized(UINT32_MAX), E2BIG);
    }
}

TEST_F(Contract, UnknownFieldsMustBeZero) {
    for (const Command& command : commands) {
        SCOPED_TRACE(command.name);
        for (std::size_t at = command.size; at < command.size + 16; ++at) {
            auto argument = argument_for(command, file_.get());
            set_word(argument, 0, static_cast<std::uint32_t>(command.size + 16));
            argument[at] = std::byte{1};
            EXPECT_EQ(run(command, argument), E2BIG) << at;
        }
    }
}

TEST_F(Contract, UnknownFlagsMustBeZero) {
    for (const Command& command : commands) {
        SCOPED_TRACE(command.name);
        for (unsigned bit = 0; bit < 32; ++bit) {
            if ((command.flags & (1U << bit)) != 0)
                continue;
            auto argument = argument_for(command, file_.get());
            set_word(argument, 0, static_cast<std::uint32_t>(command.size));
            set_word(argument, 1, 1U << bit);
            EXPECT_EQ(run(command, argument), EINVAL) << bit;
        }
    }
}

TEST_F(Contract, BadAddress) {
    const UniqueFd control = open_control();
    for (const Command& command : commands) {
        EXPECT_EQ(errno_of(control.get(), command.request, nullptr), EFAULT) << command.name;
        // The size is readable, the rest is not.
        const Pages edge(-1, 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        ASSERT_EQ(::mprotect(edge.word(1), page_size, PROT_NONE), 0);
        auto* size = reinterpret_cast<std::uint32_t*>(edge.word(1)) - 1;
        *size = static_cast<std::uint32_t>(command.size);
        EXPECT_EQ(errno_of(control.get(), command.request, size), EFAULT) << command.name;
    }
}

TEST_F(Contract, UnknownCommands) {
    const UniqueFd control = open_control();
    std::array<std::uint32_t, 64> argument{sizeof(argument)};
    for (unsigned long type : {GC_IOC_TYPE - 1UL, GC_IOC_TYPE + 0UL, GC_IOC_TYPE + 1UL})
        for (unsigned long nr = 0; nr < 256; ++nr)
            for (unsigned long direction = 0; direction < 4; ++direction)
                for (unsigned long size : {0UL, 8UL, 64UL}) {
                    const unsigned long request = _IOC(direction, type, nr, size);
                    const bool known = type == GC_IOC_TYPE && nr < commands.size() &&
                                       direction == _IOC_NONE && size == 0;
                    if (known)
                        continue;
                    ASSERT_EQ(errno_of(control.get(), request, argument.data()), ENOTTY) << request;
                }
}

TEST_F(Contract, CommandsNeedASession) {
    const UniqueFd control = open_control();
    for (const Command& command : commands) {
        if (creates(command))
            continue;
        auto argument = argument_for(command, file_.get());
        set_word(argument, 0, static_cast<std::uint32_t>(command.size));
        EXPECT_EQ(errno_of(control.get(), command.request, argument.data()), ENOENT)
            << command.name;
    }
    EXPECT_EQ(::mmap(nullptr, page_size, PROT_READ, MAP_SHARED, control.get(), 0), MAP_FAILED);
    EXPECT_EQ(errno, ENOENT);
    EXPECT_EQ(poll_events(control.get()), POLLERR);
}

TEST_F(Contract, OneSessionPerOpenFile) {
    const UniqueFd control = open_control();
    gc_session_create first = valid_create(file_.get());
    ASSERT_EQ(errno_of(control.get(), GC_IOC_SESSION_CREATE, &first), 0);
    const UniqueFd node(first.node_fd);
    EXPECT_EQ(::fcntl(node.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(node.get(), F_GETFL) & O_ACCMODE, O_RDWR);
    EXPECT_EQ(create_session(control, valid_create(file_.get())), EBUSY);
}

TEST_F(Contract, FailedCreateLeavesRoomForAnother) {
    const UniqueFd control = open_control();
    EXPECT_EQ(create_session(control, valid_create(-1)), EBADF);
    EXPECT_EQ(create_session(control, valid_create(file_.get())), 0);
}

TEST_F(Contract, RefusedBackings) {
    EXPECT_EQ(create_errno(valid_create(-1)), EBADF);
    EXPECT_EQ(create_errno(valid_create(1023)), EBADF);
    const UniqueFd directory(::open("/dev/shm", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(create_errno(valid_create(directory.get())), ENODEV);
    const UniqueFd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(create_errno(valid_create(program.get())), ENODEV);
    const UniqueFd device(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    EXPECT_EQ(create_errno(valid_create(device.get())), ENODEV);
    const UniqueFd huge(::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB));
    ASSERT_TRUE(huge);
    ASSERT_EQ(::ftruncate(huge.get(), 2 << 20), 0);
    EXPECT_EQ(create_errno(valid_create(huge.get())), EOPNOTSUPP);
    const UniqueFd write_only(
        ::open(fmt::format("/proc/self/fd/{}", file_.get()).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(write_only);
    EXPECT_EQ(create_errno(valid_create(write_only.get())), EBADF);
    const UniqueFd control = open_control();
    EXPECT_EQ(create_errno(valid_create(control.get())), ENODEV);
}

TEST_F(Contract, NodeOfASessionIsNoBacking) {
    Session session = make_session(file_, 16);
    const UniqueFd node = open_node(session.node());
    EXPECT_EQ(create_errno(valid_create(node.get())), ENODEV);
}

TEST_F(Contract, FileOnTmpfsIsABacking) {
    const std::string path = fmt::format("/dev/shm/guidecopy-test-{}", ::getpid());
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    ASSERT_TRUE(file);
    ::unlink(path.c_str());
    ASSERT_EQ(::ftruncate(file.get(), page_size), 0);
    EXPECT_EQ(create_errno(valid_create(file.get())), 0);
}

TEST_F(Contract, RangeOfTheFile) {
    struct Case {
        std::uint64_t offset;
        std::uint64_t length;
        int error;
    };
    for (const auto& [offset, length, error] : {
             Case{0, 16 * page_size, 0},
             Case{15 * page_size, page_size, 0},
             Case{0, 0, EINVAL},
             Case{0, 1, EINVAL},
             Case{0, page_size + 512, EINVAL},
             Case{512, page_size, EINVAL},
             Case{0, 17 * page_size, ERANGE},
             Case{16 * page_size, page_size, ERANGE},
             Case{UINT64_MAX - page_size + 1, page_size, ERANGE},
             Case{UINT64_MAX - page_size + 1, 2 * page_size, ERANGE},
             Case{0, std::uint64_t{1} << 44, EFBIG},
             Case{0, UINT64_MAX - page_size + 1, EFBIG},
         }) {
        gc_session_create arg = valid_create(file_.get(), length);
        arg.backing_offset = offset;
        EXPECT_EQ(create_errno(arg), error) << offset << " " << length;
    }
}

TEST_F(Contract, SizeOfTheRing) {
    struct Case {
        std::uint32_t entries;
        int error;
    };
    for (const auto& [entries, error] :
         {Case{0, EINVAL}, Case{1, EINVAL}, Case{32, EINVAL}, Case{63, EINVAL}, Case{64, 0},
          Case{65, EINVAL}, Case{128, 0}, Case{1U << 20, 0}, Case{(1U << 20) + 1, ENOBUFS},
          Case{1U << 21, ENOBUFS}, Case{1U << 31, ENOBUFS}, Case{UINT32_MAX, ENOBUFS}}) {
        gc_session_create arg = valid_create(file_.get());
        arg.ring_entries = entries;
        EXPECT_EQ(create_errno(arg), error) << entries;
    }
}

TEST_F(Contract, RangeOfRearm) {
    Session session = make_session(file_, 16);
    struct Case {
        std::uint64_t first;
        std::uint64_t count;
        int error;
    };
    for (const auto& [first, count, error] :
         {Case{0, 16, 0}, Case{15, 1, 0}, Case{0, 0, EINVAL}, Case{16, 1, ERANGE},
          Case{0, 17, ERANGE}, Case{1, UINT64_MAX, ERANGE}, Case{UINT64_MAX, 2, ERANGE}}) {
        gc_rearm arg{.size = sizeof(arg), .flags = 0, .first = first, .count = count};
        EXPECT_EQ(errno_of(session.fd(), GC_IOC_REARM, &arg), error) << first << " " << count;
    }
}

TEST_F(Contract, MappingsOfTheRing) {
    const Session session = make_session(file_, 16, small_ring);
    const std::size_t records = small_ring * sizeof(gc_record);
    struct Case {
        const char* what;
        off_t offset;
        std::size_t length;
        int prot;
        int flags;
        int error;
    };
    for (const Case& c : {
             Case{"consumer", GC_RING_CONSUMER_OFFSET, page_size, PROT_READ | PROT_WRITE,
                  MAP_SHARED, 0},
             Case{"consumer, reading", GC_RING_CONSUMER_OFFSET, page_size, PROT_READ, MAP_SHARED,
                  0},
             Case{"all, reading", 0, 2 * page_size + records, PROT_READ, MAP_SHARED, 0},
             Case{"producer", GC_RING_PRODUCER_OFFSET, page_size, PROT_READ | PROT_WRITE,
                  MAP_SHARED, EPERM},
             Case{"records", GC_RING_RECORDS_OFFSET, page_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                  EPERM},
             Case{"all", 0, 2 * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, EPERM},
             Case{"private", 0, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, EINVAL},
             Case{"too long", 0, 3 * page_size + records, PROT_READ, MAP_SHARED, ENXIO},
             Case{"beyond", off_t{1} << 40, page_size, PROT_READ, MAP_SHARED, ENXIO},
         }) {
        void* start = ::mmap(nullptr, c.length, c.prot, c.flags, session.fd(), c.offset);
        EXPECT_EQ(start == MAP_FAILED ? errno : 0, c.error) << c.what;
        if (start == MAP_FAILED)
            continue;
        const Mapping mapping(start, c.length);
        if ((c.prot & PROT_WRITE) == 0) {
            EXPECT_NE(::mprotect(start, c.length, PROT_READ | PROT_WRITE), 0) << c.what;
        }
    }
}

TEST_F(Contract, RingIsNotInherited) {
    {
        Session session = make_session(file_, 16, small_ring);
        const UniqueFd node = open_node(session.node());
        // A child that keeps running and closes nothing but the descriptor.
        Child child([&] {
            ::pause();
            return 0;
        });
        ASSERT_TRUE(open_node(node.get()));
        { [[maybe_unused]] const Session ended = std::move(session); }
        EXPECT_TRUE(eventually([&] { return !open_node(node.get()); }, 5s));
    }
}

TEST_F(Contract, OthersAreRefused) {
    struct stat control {};
    ASSERT_EQ(::stat(GC_DEVICE_PATH, &control), 0);
    EXPECT_EQ(control.st_mode & 0777U, 0600U);
    Child other([&] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0)
            return 1;
        if (::open(GC_DEVICE_PATH, O_RDWR) >= 0 || errno != EACCES)
            return 2;
        const auto probed = Session::probe();
        return !probed && probed.error().kind == ErrorKind::unsupported ? 0 : 3;
    });
    EXPECT_EQ(other.wait(), 0);
}

/// A guide has a descriptor of the node and another user than the session's creator. Of that user's
/// other processes, one that may not trace the guide gets neither its memory nor its node.
TEST_F(Contract, NodeIsOnlyForThoseWhoHaveItsDescriptor) {
    constexpr std::string_view name = "guidecopy-mem";
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             "/dev", std::filesystem::directory_options::skip_permission_denied))
        EXPECT_FALSE(entry.path().filename().string().starts_with(name)) << entry.path();

    Session session = make_session(file_, 16);
    const int node = session.node();
    const auto become_user = [] { return ::setgid(65534) == 0 && ::setuid(65534) == 0; };
    // Leaving root makes it not dumpable: it may not be traced by its own user.
    Child guide([&] {
        if (!become_user())
            return 1;
        const UniqueFd own = open_node(node);
        if (!own || Pages(own.get(), 16).read(5) != pattern(5))
            return 2;
        ::pause();
        return 3;
    });
    ASSERT_TRUE(eventually([&] { return session.stats().value().records == 1; }));
    Child neighbour([&] {
        ::close(node);
        if (!become_user())
            return 1;
        for (const std::string& path : {fmt::format("/proc/{}/mem", guide.pid()),
                                        fmt::format("/proc/{}/fd/{}", guide.pid(), node)})
            if (::open(path.c_str(), O_RDONLY) >= 0 || errno != EACCES)
                return 2;
        return 0;
    });
    EXPECT_EQ(neighbour.wait(), 0);
    // Root may trace it.
    const UniqueFd by_root(
        ::open(fmt::format("/proc/{}/fd/{}", guide.pid(), node).c_str(), O_RDWR));
    EXPECT_TRUE(by_root);
    EXPECT_EQ(guide.wait(0ms), -1);
}

TEST_F(Contract, NodeCannotBeExecuted) {
    Session session = make_session(file_, 16);
    Child child([&] {
        const std::string path = fmt::format("/proc/self/fd/{}", session.node());
        std::array<char*, 2> argv{const_cast<char*>(path.c_str()), nullptr};
        ::execv(path.c_str(), argv.data());
        return errno == EACCES ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
}

/// The second copy of the argument, to user space, fails: the descriptor is not left behind.
TEST_F(Contract, NoDescriptorIsLeftBehind) {
    const auto descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const Pages read_only(-1, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    auto* arg = reinterpret_cast<gc_session_create*>(read_only.data());
    *arg = valid_create(file_.get());
    ASSERT_EQ(::mprotect(read_only.data(), page_size, PROT_READ), 0);
    const UniqueFd control = open_control();
    const auto before = descriptors();
    EXPECT_EQ(errno_of(control.get(), GC_IOC_SESSION_CREATE, arg), EFAULT);
    EXPECT_EQ(descriptors(), before);
}

/// A user without capabilities who has opened the device, with a limit of locked memory.
int as_user(rlim_t memlock, const std::function<int()>& body) {
    const rlimit limit{memlock, memlock};
    if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || ::setresgid(65534, 65534, 65534) != 0 ||
        ::setresuid(65534, 65534, 65534) != 0)
        return 100;
    return body();
}

TEST_F(Contract, MemoryIsChargedToTheUser) {
    constexpr rlim_t limit = 1 << 20;
    // Of this many entries, one ring fits below the limit and two do not.
    constexpr std::uint32_t most = limit / sizeof(gc_record) / 2;
    Child user([&] {
        std::array<UniqueFd, 4> controls{open_control(), open_control(), open_control(),
                                         open_control()};
        return as_user(limit, [&] {
            const auto create = [&](std::size_t control, std::uint32_t entries) {
                gc_session_create arg = valid_create(file_.get());
                arg.ring_entries = entries;
                return create_session(controls[control], arg);
            };
            if (create(0, 4 * most) != ENOMEM)
                return 1;
            if (create(0, most) != 0)
                return 2;
            if (create(1, most) != ENOMEM)
                return 3;
            if (create(1, most / 2) != 0)
                return 4;
            controls[0].reset();
            // A dead session keeps its memory until its node is closed.
            gc_session_create arg = valid_create(file_.get());
            arg.ring_entries = most / 2;
            if (errno_of(controls[2].get(), GC_IOC_SESSION_CREATE, &arg) != 0)
                return 5;
            controls[2].reset();
            if (create(3, most) != ENOMEM)
                return 6;
            ::close(arg.node_fd);
            return create(3, most) == 0 ? 0 : 7;
        });
    });
    EXPECT_EQ(user.wait(), 0);
    // All of it was given back, and whoever may lock memory is not limited.
    Child again([&] {
        const UniqueFd control = open_control();
        return as_user(limit, [&] {
            gc_session_create arg = valid_create(file_.get());
            arg.ring_entries = most;
            return create_session(control, arg);
        });
    });
    EXPECT_EQ(again.wait(), 0);
    Child root([&] {
        const rlimit none{0, 0};
        return ::setrlimit(RLIMIT_MEMLOCK, &none) == 0 ? create_errno(valid_create(file_.get()))
                                                       : 100;
    });
    EXPECT_EQ(root.wait(), 0);
}

TEST_F(Contract, SetOfPagesIsChargedToo) {
    constexpr std::uint64_t length = std::uint64_t{1} << 40;  // of which the bits take 32 MiB
    const UniqueFd sparse(::memfd_create("sparse", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(sparse.get(), length), 0);
    Child user([&] {
        const UniqueFd control = open_control();
        return as_user(8 << 20, [&] {
            return create_session(control, valid_create(sparse.get(), length)) == ENOMEM ? 0 : 1;
        });
    });
    EXPECT_EQ(user.wait(), 0);
    EXPECT_EQ(create_errno(valid_create(sparse.get(), length)), 0);
}

TEST_F(Contract, NumberOfCapturesOfAUser) {
    const Setting three("/sys/module/guidecopy/parameters/max_captures_per_user", "3");
    ASSERT_TRUE(three.ok());
    Child user([&] {
        std::array<UniqueFd, 5> controls;
        for (UniqueFd& control : controls)
            control = open_control();
        return as_user(8 << 20, [&] {
            const auto create = [&](std::size_t control) {
                return create_session(controls[control], valid_create(file_.get()));
            };
            for (std::size_t i = 0; i < 3; ++i)
                if (create(i) != 0)
                    return 1;
            if (create(3) != ENOSPC)
                return 2;
            controls[1].reset();
            if (create(3) != 0)
                return 3;
            return create(4) == ENOSPC ? 0 : 4;
        });
    });
    EXPECT_EQ(user.wait(), 0);
    std::vector<UniqueFd> controls(4);
    for (UniqueFd& control : controls) {
        control = open_control();
        EXPECT_EQ(create_session(control, valid_create(file_.get())), 0) << "root is not limited";
    }
}

/// What gcctl says of it.
TEST_F(Contract, RefusalsNameTheLimit) {
    Child user([&] {
        return as_user(64 << 10, [&] {
            const std::string text = no_memory(1 << 16, 16);
            return text.find("about 2048 KiB") != std::string::npos &&
                           text.find("the limit is 64 KiB") != std::string::npos &&
                           text.find("ulimit -l") != std::string::npos
                       ? 0
                       : 1;
        });
    });
    EXPECT_EQ(user.wait(), 0);
}

TEST_F(Contract, ManySessions) {
    std::vector<UniqueFd> controls;
    int error = 0;
    while (error == 0 && controls.size() < 2000) {
        controls.push_back(open_control());
        error =
            controls.back() ? create_session(controls.back(), valid_create(file_.get())) : errno;
    }
    // Root is limited by its descriptors only.
    EXPECT_TRUE(error == 0 || error == EMFILE) << std::strerror(error);
    EXPECT_GT(controls.size(), 200U);
}

}  // namespace
}  // namespace gc::capture::test
