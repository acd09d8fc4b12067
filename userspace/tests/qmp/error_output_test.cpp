// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/error_output.h"

#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::qmp {
namespace {

/// A process whose standard error is a descriptor of the test.
class Writer {
  public:
    explicit Writer(int fd) {
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(fd, 2);
            ::raise(SIGSTOP);
            ::_exit(0);
        }
        ::waitpid(pid_, nullptr, WUNTRACED);
    }
    ~Writer() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    pid_t pid_ = -1;
};

class ErrorOutputOf : public ::testing::Test {
  protected:
    ErrorOutputOf() : file_(::mkstemp(name_)) {}
    ~ErrorOutputOf() override { ::unlink(name_); }
    void write(std::string_view text) {
        EXPECT_EQ(::write(file_.get(), text.data(), text.size()),
                  static_cast<ssize_t>(text.size()));
    }

    char name_[32] = "/tmp/gc-error-output-XXXXXX";
    UniqueFd file_;
};

TEST_F(ErrorOutputOf, AFileIsWhatWasWrittenSince) {
    write("before\n");
    const Writer writer(file_.get());
    const ErrorOutput output = ErrorOutput::of(writer.pid());
    EXPECT_EQ(output.text(), "");
    EXPECT_EQ(output.hint(), "it wrote nothing to its standard error");
    write("qemu: Unknown section\n\nqemu: load \x1b[2J failed\n");
    EXPECT_EQ(output.text(), "qemu: Unknown section; qemu: load \\x1b[2J failed");
    EXPECT_EQ(output.hint(), "it wrote to its standard error: " + output.text());
    write(std::string(5000, 'x') + "the end\n");
    EXPECT_EQ(output.text().size(), 999U);
    EXPECT_TRUE(output.text().ends_with("the end"));
}

TEST_F(ErrorOutputOf, AFileThatTheProcessCannotWriteIsNotRead) {
    for (const int flags : {O_PATH, O_RDONLY}) {
        const UniqueFd other(::open(name_, flags | O_CLOEXEC));
        const Writer writer(other.get());
        const ErrorOutput output = ErrorOutput::of(writer.pid());
        write("of others\n");
        EXPECT_EQ(output.text(), "");
    }
}

TEST_F(ErrorOutputOf, APipeIsNamed) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]), write_end(ends[1]);
    const Writer writer(write_end.get());
    EXPECT_TRUE(ErrorOutput::of(writer.pid())
                    .hint()
                    .starts_with("see its own output: its standard error is pipe:["));
    EXPECT_EQ(ErrorOutput().hint(), "see its own output");
}

}  // namespace
}  // namespace gc::qmp
