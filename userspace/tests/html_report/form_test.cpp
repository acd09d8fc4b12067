// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

using testing::HasSubstr;

/// The error in the document; empty if it is valid.
std::string complaint(const Form& form, const char* document) {
    const auto checked = form(Json::parse(document), "");
    return checked ? "" : checked.error().message;
}

TEST(Form, OfText) {
    EXPECT_EQ(complaint(text(), R"("")"), "");
    EXPECT_EQ(complaint(text(), "3"), "the document: expected a string, found 3");
}

TEST(Form, OfAFlag) {
    EXPECT_EQ(complaint(flag(), "false"), "");
    EXPECT_THAT(complaint(flag(), "0"), HasSubstr("expected true or false, found 0"));
}

TEST(Form, OfANumber) {
    EXPECT_EQ(complaint(number(), "-1.5"), "");
    EXPECT_THAT(complaint(number(), R"("1.5")"), HasSubstr(R"(expected a number, found "1.5")"));
}

TEST(Form, OfAPositiveNumber) {
    EXPECT_EQ(complaint(positive(), "0.5"), "");
    EXPECT_THAT(complaint(positive(), "0"), HasSubstr("expected a number above 0"));
    EXPECT_THAT(complaint(positive(), "null"), HasSubstr("expected a number above 0"));
}

TEST(Form, OfACount) {
    EXPECT_EQ(complaint(count(), "18446744073709551615"), "");
    for (const char* other : {"-1", "1.5", "1.0", "true", "\"1\""})
        EXPECT_THAT(complaint(count(), other), HasSubstr("expected a count")) << other;
}

TEST(Form, MaybeNothing) {
    EXPECT_EQ(complaint(maybe(count()), "null"), "");
    EXPECT_EQ(complaint(maybe(count()), "1"), "");
    EXPECT_THAT(complaint(maybe(count()), "{}"), HasSubstr("expected a count"));
}

TEST(Form, OfAListSaysWhere) {
    EXPECT_EQ(complaint(list(count()), "[]"), "");
    EXPECT_EQ(complaint(list(count()), "[1, 2, -3]"),
              "[2]: expected a count (0, 1, 2, ...), found -3");
    EXPECT_THAT(complaint(list(count()), R"({"0": 1})"), HasSubstr("expected a list"));
}

TEST(Form, OfAListOfASize) {
    EXPECT_EQ(complaint(list(2, count()), "[1, 2]"), "");
    EXPECT_THAT(complaint(list(2, count()), "[1]"),
                HasSubstr("expected a list of 2, found a list of 1"));
    EXPECT_THAT(complaint(list(2, count()), "[1, 2, 3]"), HasSubstr("found a list of 3"));
    EXPECT_THAT(complaint(list(2, count()), "[1, null]"), HasSubstr("[1]: expected a count"));
}

TEST(Form, OfAnObjectSaysWhere) {
    const Form form = object({{"outer", object({{"inner", count()}})}}, {{"more", text()}});
    EXPECT_EQ(complaint(form, R"({"outer": {"inner": 1}})"), "");
    EXPECT_EQ(complaint(form, R"({"outer": {"inner": 1, "new": []}, "more": ""})"), "");
    EXPECT_EQ(complaint(form, R"({"outer": {"more": ""}})"), "outer.inner: missing");
    EXPECT_THAT(complaint(form, R"({"outer": {"inner": ""}})"), HasSubstr("outer.inner: expected"));
    EXPECT_THAT(complaint(form, R"({"outer": {"inner": 1}, "more": null})"),
                HasSubstr("more: expected a string, found null"));
    EXPECT_THAT(complaint(form, "[]"), HasSubstr("expected an object, found a list of 0"));
}

TEST(Form, OfAMap) {
    EXPECT_EQ(complaint(map(count()), "{}"), "");
    EXPECT_EQ(complaint(map(count()), R"({"a": 1, "b": 2})"), "");
    EXPECT_THAT(complaint(map(count()), R"({"a": 1, "b": {}})"),
                HasSubstr("b: expected a count (0, 1, 2, ...), found an object"));
    EXPECT_THAT(complaint(map(count()), "[1]"), HasSubstr("expected an object"));
}

TEST(Form, LongValuesAreCutInMessages) {
    // Cut within a two-byte character.
    std::string document = "\"";
    for (int i = 0; i < 1000; ++i)
        document += "\u00e9";
    const std::string said = complaint(count(), (document + '"').c_str());
    EXPECT_LT(said.size(), 250U) << said;
    EXPECT_THAT(said, HasSubstr("..."));
}

}  // namespace
}  // namespace gc::html_report
