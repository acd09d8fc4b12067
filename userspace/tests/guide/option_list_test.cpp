// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/option_list.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gc::guide {
namespace {

TEST(OptionList, ParsesAndPrintsWhatItParsed) {
    for (const char* text :
         {"tap,id=n,fd=3", "file=a,,b,if=none", "id=x,driver=y", "a=,b=1", "a=b=c"})
        EXPECT_EQ(OptionList::parse(text, "type")->print("type"), text);
}

TEST(OptionList, BareKeysAreOnOrTheImpliedValue) {
    const auto list = OptionList::parse("q35,usb,vmport=off", "type").value();
    EXPECT_EQ(list.get("type"), "q35");
    EXPECT_TRUE(list.is_on("usb"));
    EXPECT_FALSE(list.is_on("vmport"));
    EXPECT_FALSE(list.is_on("absent"));
    EXPECT_EQ(OptionList::parse("readonly")->get("readonly"), "on");
}

TEST(OptionList, TheLastOfRepeatedKeysCounts) {
    auto list = OptionList::parse("a=1,a=2").value();
    EXPECT_EQ(list.get("a"), "2");
    list.set("a", "3");
    EXPECT_EQ(list.print(), "a=1,a=3");
    list.remove("a");
    EXPECT_EQ(list.print(), "");
}

TEST(OptionList, FlattensJson) {
    const auto list =
        OptionList::parse(R"({"type":"tap","vhost":true,"n":5,"fds":["3","4"],"a":{"b":"c,d"}})")
            .value();
    EXPECT_EQ(list.print("type"), "a.b=c,,d,fds.0=3,fds.1=4,n=5,type=tap,vhost=on");
    EXPECT_FALSE(OptionList::parse("{\"type\":"));
}

TEST(OptionList, RemovesWholeTrees) {
    auto list = OptionList::parse("file=x,file.locking=on,file.driver=y,filename=z").value();
    list.remove_tree("file");
    EXPECT_EQ(list.print(), "filename=z");
}

TEST(ParseNested, DottedKeysMakeGroups) {
    EXPECT_EQ(
        parse_nested("qcow2,file.driver=file,file.filename=a,,b", "driver").value(),
        nlohmann::json::parse(R"({"driver":"qcow2","file":{"driver":"file","filename":"a,b"}})"));
    EXPECT_FALSE(parse_nested("file=x,file.driver=y"));
    EXPECT_FALSE(parse_nested("{]"));
}

}  // namespace
}  // namespace gc::guide
