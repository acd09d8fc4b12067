// SPDX-License-Identifier: GPL-2.0-or-later
// Compressing what a frame carries, and undoing that. The compressed bytes come from a peer: they
// yield exactly as many bytes as it announced, or an error.
#pragma once

#include "util/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace gc::peer {

/// The numbers are those on the wire.
enum class Compression : std::uint8_t { lz4 = 1, zstd = 2 };
inline constexpr std::array compressions{Compression::lz4, Compression::zstd};
[[nodiscard]] std::string_view name(Compression how);
/// @return nullopt for a name that this gcctl does not know
[[nodiscard]] std::optional<Compression> compression_of(std::string_view name);

/// Not thread-safe. Reuses its memory.
class Compressor {
  public:
    Compressor();
    ~Compressor();
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;

    /// @return nullopt if the result would be longer than `max_size`; else it is valid until the
    /// next call
    std::optional<std::span<const std::byte>>
    compress(Compression how, std::span<const std::byte> bytes, std::size_t max_size);

  private:
    struct Free {
        void operator()(ZSTD_CCtx_s* context) const;
    };
    std::unique_ptr<ZSTD_CCtx_s, Free> zstd_;  ///< made when it is needed
    std::vector<std::byte> result_;
};

/// Not thread-safe. Reuses its memory.
class Decompressor {
  public:
    Decompressor();
    ~Decompressor();
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;

    /// Fills all of `into`. Errors: protocol, if the bytes are not whole or are those of more or
    /// less.
    Result<void> decompress(Compression how, std::span<const std::byte> bytes,
                            std::span<std::byte> into);

  private:
    struct Free {
        void operator()(ZSTD_DCtx_s* context) const;
    };
    std::unique_ptr<ZSTD_DCtx_s, Free> zstd_;  ///< made when it is needed
};

}  // namespace gc::peer
