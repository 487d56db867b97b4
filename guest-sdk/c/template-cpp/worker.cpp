// {{name}}: sums the integers that it is sent as CBOR, and answers the sum so far.
#include "grid.hpp"
#include "grid_value.hpp"

class Adder final : public grid::Worker {
  public:
    void handle_msg(std::string_view message) override {
        auto value = grid::decode(message);
        if (!value) return grid::fail(value.error);
        auto number = value->to<std::int64_t>();
        if (!number) return grid::fail("expected an integer");
        std::int64_t next;
        if (__builtin_add_overflow(sum, *number, &next)) return grid::fail("the sum is too large");
        sum = next;
        grid::send_cbor(sum);
    }

  private:
    std::int64_t sum = 0;
};

GRID_WORKER(Adder);
