// Write a grid worker in C++17.
//
// A worker is a class, made once from its spawn arguments, then given messages for as long as it lives:
//
//     #include "grid.hpp"
//     #include "grid_value.hpp"
//
//     class Squarer final : public grid::Worker {
//       public:
//         void handle_msg(std::string_view message) override {
//             auto value = grid::decode(message);
//             auto number = value ? value->to<double>() : std::nullopt;
//             if (!number) return grid::fail("expected a number");
//             grid::send_cbor(*number * *number);
//         }
//     };
//
//     GRID_WORKER(Squarer);
//
// There are no exceptions: the toolchains have none for WebAssembly that the grid would run. What would throw aborts.
#ifndef GRID_HPP
#define GRID_HPP

#include <string_view>
#include <type_traits>

#include "grid.h"

namespace grid {

/// How grave a line of the log is.
enum class Level { error = GRID_ERROR, warn = GRID_WARN, info = GRID_INFO, debug = GRID_DEBUG, trace = GRID_TRACE };

/// What is left to do after a turn.
enum class Turn {
    /// Nothing, until the next message; the one at hand is done.
    idle = GRID_IDLE,
    /// Something: call again.
    again = GRID_AGAIN,
};

/// Sends a message to the client, waiting while too much of what was sent before is unread. More than 64 MiB end the
/// worker.
inline void send(std::string_view message) {
    grid_send(message.data(), message.size());
}

/// Writes a line to the worker's log.
inline void log(Level level, std::string_view line) {
    grid_log_bytes(static_cast<grid_log_level>(level), line.data(), line.size());
}

/// Says that the message at hand could not be handled, and why; the worker goes on. In a constructor, refuses the spawn
/// arguments and ends the worker. It returns: return yourself.
inline void fail(std::string_view reason) {
    grid_fail_bytes(reason.data(), reason.size());
}

/// Ends the worker, with a line in its log that says why.
[[noreturn]] inline void panic(std::string_view text) {
    log(Level::error, text);
    __builtin_trap();
}

/// A worker. Its constructor takes the spawn arguments as a `std::string_view`, or nothing.
class Worker {
  public:
    virtual ~Worker() = default;

    /// Takes a message, which is there until this returns. What is sent from here and from `loop` is the answer.
    virtual void handle_msg(std::string_view message) = 0;

    /// Does a slice of what is left to do. Called after each message, and again for as long as it returns
    /// `Turn::again`; the message is done at the first `Turn::idle`.
    virtual Turn loop() { return Turn::idle; }

    /// The last call, when the worker is stopped in good order. It has two seconds.
    virtual void stop() {}
};

/// What the host calls; `GRID_WORKER` exports it.
template <class W>
class Exported {
    static_assert(std::is_base_of_v<Worker, W>, "a worker derives from grid::Worker");

  public:
    static void init(grid_bytes arguments) {
        if constexpr (std::is_constructible_v<W, std::string_view>) worker = new W(text(arguments));
        else worker = new W();
    }

    static void handle_msg(grid_bytes message) { worker->handle_msg(text(message)); }

    static grid_turn loop() { return static_cast<grid_turn>(worker->loop()); }

    static void stop() { worker->stop(); }

  private:
    static std::string_view text(grid_bytes bytes) {
        return {reinterpret_cast<const char *>(bytes.data), bytes.length};
    }

    static inline W *worker = nullptr;
};

} // namespace grid

/// Exports a class that derives from `grid::Worker`.
#define GRID_WORKER(type)                              \
    GRID_INIT(grid::Exported<type>::init);             \
    GRID_HANDLE_MSG(grid::Exported<type>::handle_msg); \
    GRID_LOOP(grid::Exported<type>::loop);             \
    GRID_STOP(grid::Exported<type>::stop)

#endif
