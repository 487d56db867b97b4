;; attack: a component logs without end
;; when: message
;; ends: time-limit
(component
  (import "grid:worker/calls@1.0.0" (instance $calls
    (export "send" (func (param "message" (list u8))))
    (type $level' (enum "error" "warn" "info" "debug" "trace"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "line" string)))
    (type $turn' (enum "idle" "again" "later"))
    (export "turn" (type $turn (eq $turn')))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (alias export $calls "send" (func $send))
  (alias export $calls "log" (func $log))
  (alias export $calls "turn" (type $turn))
  (core func $send' (canon lower (func $send) (memory (core memory $memory "memory"))))
  (core func $log' (canon lower (func $log) (memory (core memory $memory "memory"))))
  (core module $worker
    (import "memory" "memory" (memory 0))
    (import "calls" "send" (func $send (param i32 i32)))
    (import "calls" "log" (func $log (param i32 i32 i32)))
    (func (export "handle") (param $at i32) (param $length i32)
      (loop $on (call $log (i32.const 0) (i32.const 0) (i32.const 8192)) (br $on))))
  (core instance $worker (instantiate $worker
    (with "memory" (instance $memory))
    (with "calls" (instance (export "send" (func $send')) (export "log" (func $log'))))
))
  (func $handle (param "message" (list u8))
    (canon lift (core func $worker "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "handle-msg" (func $handle))
)
