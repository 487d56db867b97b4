;; attack: a component makes timers without end, each of which the host must keep
;; when: message
;; ends: trap
(component
  (import "grid:worker/calls@1.0.0" (instance $calls
    (export "send" (func (param "message" (list u8))))
    (type $level' (enum "error" "warn" "info" "debug" "trace"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "line" string)))
    (type $turn' (enum "idle" "again" "later"))
    (export "turn" (type $turn (eq $turn')))))
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $pollable' (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable'))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $inner (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $inner))))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (alias export $calls "send" (func $send))
  (alias export $calls "log" (func $log))
  (alias export $calls "turn" (type $turn))
  (core func $send' (canon lower (func $send) (memory (core memory $memory "memory"))))
  (core func $log' (canon lower (func $log) (memory (core memory $memory "memory"))))
  (alias export $clock "subscribe-duration" (func $subscribe))
  (alias export $poll "[method]pollable.block" (func $block))
  (core func $subscribe' (canon lower (func $subscribe)))
  (core func $block' (canon lower (func $block)))
  (core module $worker
    (import "memory" "memory" (memory 0))
    (import "calls" "send" (func $send (param i32 i32)))
    (import "calls" "log" (func $log (param i32 i32 i32)))
    (import "clock" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "clock" "block" (func $block (param i32)))
    (func (export "handle") (param $at i32) (param $length i32)
      (loop $on (drop (call $subscribe (i64.const 1000000000000))) (br $on))))
  (core instance $worker (instantiate $worker
    (with "memory" (instance $memory))
    (with "calls" (instance (export "send" (func $send')) (export "log" (func $log'))))
    (with "clock" (instance (export "subscribe" (func $subscribe')) (export "block" (func $block'))))
))
  (func $handle (param "message" (list u8))
    (canon lift (core func $worker "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "handle-msg" (func $handle))
)
