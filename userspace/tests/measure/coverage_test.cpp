// SPDX-License-Identifier: GPL-2.0-or-later
#include "measure/coverage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::measure {
namespace {

using testing::HasSubstr;

/// Of block "m": pages 0-9 by pre-copy, 10-19 guide (18 and 19 zeros), 20-29 urgent,
/// 30-39 background, 40-49 not at all.
class CoverageTest : public testing::Test {
  protected:
    void SetUp() override {
        ledger_.keep_deliveries();
        for (std::uint64_t page = 0; page < 10; ++page)
            ASSERT_TRUE(ledger_.deliver_precopy(1, page));
        ledger_.seal();
        for (std::uint64_t page = 10; page < 20; ++page)
            ASSERT_TRUE(ledger_.claim(1, page, ledger::PageClass::guide));
        for (std::uint64_t page = 20; page < 30; ++page)
            ASSERT_TRUE(ledger_.claim(1, page, ledger::PageClass::urgent));
        for (std::uint64_t page = 30; page < 40; ++page)
            ASSERT_TRUE(ledger_.claim(1, page, ledger::PageClass::background));
        ledger_.sent_as_zero(1, 18);
        ledger_.sent_as_zero(1, 19);
    }

    void expect_refused(const Touched& touched, std::string_view says) {
        const auto added = coverage_.add(touched);
        ASSERT_FALSE(added);
        EXPECT_EQ(added.error().kind, ErrorKind::protocol);
        EXPECT_THAT(added.error().message, HasSubstr(says));
    }

    ledger::Ledger ledger_{{{"rom", 3}, {"m", 50}}};
    Coverage coverage_{ledger_};
};

TEST_F(CoverageTest, SharesOfWhatWasTouched) {
    // Of the guide's pages 8 are touched, 7 of them data, and one had to be asked for.
    ASSERT_TRUE(coverage_.add({"m", false, {{0, 4}, {11, 7}, {30, 2}}}));
    ASSERT_TRUE(coverage_.add({"m", true, {{18, 1}, {20, 10}}}));
    const report::MeasureReport report = coverage_.result();
    EXPECT_EQ(report.touched.total, 24U);
    EXPECT_EQ(report.touched.in[ledger::PageClass::precopy], 4U);
    EXPECT_EQ(report.touched.in[ledger::PageClass::guide], 8U);
    EXPECT_EQ(report.touched.in[ledger::PageClass::urgent], 10U);
    EXPECT_EQ(report.touched.in[ledger::PageClass::background], 2U);
    EXPECT_EQ(report.touched.zero, 1U);
    EXPECT_EQ(report.asked, 11U);
    EXPECT_DOUBLE_EQ(report.coverage.value_or(-1), 9.0 / 20);
    EXPECT_DOUBLE_EQ(report.accuracy.value_or(-1), 8.0 / 10);
    EXPECT_EQ(report.waste_bytes, 4096U) << "page 10; 19 was sent as a zero marker";
}

TEST_F(CoverageTest, NothingTouched) {
    const report::MeasureReport report = coverage_.result();
    EXPECT_EQ(report.touched.total, 0U);
    EXPECT_FALSE(report.coverage);
    EXPECT_EQ(report.accuracy, 0.0);
    EXPECT_EQ(report.waste_bytes, 8U * 4096);
}

TEST_F(CoverageTest, OnlyWhatWasThereAtSwitchOver) {
    ASSERT_TRUE(coverage_.add({"m", false, {{0, 10}}}));
    EXPECT_FALSE(coverage_.result().coverage);
}

TEST_F(CoverageTest, PagesThatCannotBe) {
    expect_refused({"vga.vram", false, {{0, 1}}}, "'vga.vram'");
    expect_refused({"m", false, {{49, 2}}}, "50 pages");
    expect_refused({"m", false, {{1, UINT64_MAX}}}, "50 pages");
    expect_refused({"m", false, {{39, 2}}}, "page 40 of 'm' was touched, which was never");
}

TEST(CoverageWithoutGuide, HasNoAccuracy) {
    ledger::Ledger ledger({{"m", 2}});
    ledger.keep_deliveries();
    ledger.seal();
    ASSERT_TRUE(ledger.claim(0, 0, ledger::PageClass::urgent));
    Coverage coverage(ledger);
    ASSERT_TRUE(coverage.add({"m", true, {{0, 1}}}));
    EXPECT_EQ(coverage.result().coverage, 0.0);
    EXPECT_FALSE(coverage.result().accuracy);
}

}  // namespace
}  // namespace gc::measure
