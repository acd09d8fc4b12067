// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/document.h"

#include "html_report/command.h"
#include "options/arguments.h"
#include "report/report.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unistd.h>

namespace gc::html_report {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The content of the page's data element.
std::string data_of(const std::string& page) {
    const std::string begin = R"(<script type="application/json" id="data">)";
    const std::size_t from = page.find(begin) + begin.size();
    return page.substr(from, page.find("</script>", from) - from);
}

TEST(Page, HasTheDataAsTheyWere) {
    const Json data = {{"z", 1}, {"a", {1.5, nullptr, true, "\u00b5"}}};
    EXPECT_EQ(Json::parse(data_of(make_page(data))), data);
}

TEST(Page, NoStringEndsTheScript) {
    const Json data = {{"error", "</script><b>@SCRIPT@<!--<script>"}};
    const std::string page = make_page(data);
    EXPECT_EQ(Json::parse(data_of(page)), data);
    EXPECT_EQ(data_of(page).find('<'), std::string::npos);
    EXPECT_THAT(page, Not(HasSubstr("<b>")));
}

TEST(Page, IsMadeOfAllItsParts) {
    const std::string page = make_page(Json::object());
    EXPECT_TRUE(page.starts_with("<!doctype html>"));
    EXPECT_TRUE(page.ends_with("</html>\n"));
    EXPECT_THAT(page, HasSubstr("Chart.js v"));
    EXPECT_THAT(page, HasSubstr("function migrationPage("));
    EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
    for (const char* mark : {"@STYLE@", "@CLASSES@", "@DATA@", "@CHART_JS@", "@SCRIPT@"})
        EXPECT_THAT(page, Not(HasSubstr(mark)));
}

class ReportCommand : public testing::Test {
  protected:
    void SetUp() override {
        std::filesystem::create_directory(folder_);
        ASSERT_TRUE(write_report(report::Report{}, input_));
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    /// @return the exit status; the output is in said_
    int run(std::vector<std::string> arguments) {
        testing::internal::CaptureStderr();
        const int status = command(arguments);
        said_ = testing::internal::GetCapturedStderr();
        return status;
    }

    [[nodiscard]] static std::string content(const std::string& path) {
        std::ostringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }

    [[nodiscard]] std::size_t files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(folder_), {}));
    }

    // Unique to this process: tests run in parallel.
    std::string folder_ = testing::TempDir() + "/page_test-" + std::to_string(::getpid());
    std::string input_ = folder_ + "/report.json";
    std::string page_ = folder_ + "/page.html";
    std::string said_;
};

TEST_F(ReportCommand, WritesThePage) {
    ASSERT_EQ(run({input_, "-o", page_}), options::exit_done) << said_;
    EXPECT_EQ(said_, "");
    EXPECT_EQ(Json::parse(data_of(content(page_))), Json::parse(content(input_)));
    EXPECT_EQ(files(), 2U);
}

TEST_F(ReportCommand, WritesTheSamePageAgain) {
    ASSERT_EQ(run({input_, "-o", page_}), options::exit_done);
    const std::string before = content(page_);
    ASSERT_EQ(run({"--file", input_, "--output", page_}), options::exit_done);
    EXPECT_EQ(content(page_), before);
}

TEST_F(ReportCommand, WrongCommandLines) {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                      {input_},
                                                      {"-o", page_},
                                                      {input_, input_, "-o", page_},
                                                      {input_, "-o", page_, "--nonsense"},
                                                      {input_, "-o", input_}}) {
        EXPECT_EQ(run(arguments), options::exit_usage) << said_;
        EXPECT_THAT(said_, HasSubstr("gcctl report: "));
    }
    EXPECT_THAT(said_, HasSubstr("would overwrite " + input_));
    EXPECT_EQ(files(), 1U) << "nothing was written";
}

TEST_F(ReportCommand, UnreadableFilesAreNamed) {
    for (const std::string& path : {folder_ + "/none.json", folder_}) {
        EXPECT_EQ(run({path, "-o", page_}), options::exit_failed);
        EXPECT_THAT(said_, HasSubstr(path + ": "));
    }
    EXPECT_EQ(files(), 1U);
}

TEST_F(ReportCommand, WrongFilesAreNamedAndLeaveThePageAlone) {
    ASSERT_EQ(run({input_, "-o", page_}), options::exit_done);
    const std::string before = content(page_);
    std::ofstream(input_) << "not JSON";
    EXPECT_EQ(run({input_, "-o", page_}), options::exit_failed);
    EXPECT_THAT(said_, HasSubstr("gcctl report: " + input_ + ": expected JSON"));
    EXPECT_EQ(content(page_), before);
}

TEST_F(ReportCommand, UnwritablePagesAreNamed) {
    for (const std::string& path : {folder_ + "/none/page.html", folder_}) {
        EXPECT_EQ(run({input_, "-o", path}), options::exit_failed);
        EXPECT_THAT(said_, HasSubstr(path));
    }
    EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace gc::html_report
