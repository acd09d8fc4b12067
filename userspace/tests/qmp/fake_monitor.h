// SPDX-License-Identifier: GPL-2.0-or-later
// The server side of a QMP connection, scripted, in a thread of its own.
#pragma once

#include "qmp/client.h"
#include "util/read_buffer.h"

#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::qmp {

class FakeMonitor {
  public:
    static constexpr const char* greeting =
        R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7},)"
        R"( "package": "Debian 1:7.2+dfsg-7"}, "capabilities": ["oob"]}})"
        "\r\n";

    /// @param script runs in the server's thread, which then closes the socket
    explicit FakeMonitor(std::function<void(FakeMonitor&)> script) {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        client_end_ = UniqueFd(ends[0]);
        server_end_ = UniqueFd(ends[1]);
        done_ = std::async(std::launch::async, [this, script = std::move(script)] {
            script(*this);
            server_end_.reset();
        });
    }
    ~FakeMonitor() {
        client_end_.reset();
        done_.wait();
    }

    UniqueFd take_client_end() { return std::move(client_end_); }

    void send(std::string_view text) {
        (void)!::send(server_end_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
    void greet() {
        send(greeting);
        reply(receive(), nlohmann::json::object());
    }
    /// The next command, or an empty object if the client has closed the connection.
    nlohmann::json receive() {
        for (;;) {
            if (const auto line = received_.take_line())
                return nlohmann::json::parse(*line);
            if (received_.fill(server_end_.get()).value_or(0) == 0)
                return nlohmann::json::object();
        }
    }
    static std::string reply_text(const nlohmann::json& command, const nlohmann::json& value) {
        return nlohmann::json{{"return", value}, {"id", command.value("id", 0)}}.dump() + "\r\n";
    }
    void reply(const nlohmann::json& command, const nlohmann::json& value) {
        send(reply_text(command, value));
    }
    void refuse(const nlohmann::json& command, const char* klass, const char* text) {
        send(nlohmann::json{{"error", {{"class", klass}, {"desc", text}}},
                            {"id", command.value("id", 0)}}
                 .dump() +
             "\r\n");
    }
    /// Keeps the connection open until the client has closed it.
    void linger() {
        char c = 0;
        while (::recv(server_end_.get(), &c, 1, 0) > 0) {
        }
    }

  private:
    UniqueFd client_end_;
    UniqueFd server_end_;
    ReadBuffer received_;
    std::future<void> done_;
};

}  // namespace gc::qmp
