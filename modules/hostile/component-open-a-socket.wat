;; attack: a component asks for a socket, and traps if it gets one
;; when: message
;; ends: survives
(component
  (import "grid:worker/calls@1.0.0" (instance $calls
    (export "send" (func (param "message" (list u8))))
    (type $level' (enum "error" "warn" "info" "debug" "trace"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "line" string)))
    (type $turn' (enum "idle" "again" "later"))
    (export "turn" (type $turn (eq $turn')))))
  (import "wasi:sockets/network@0.2.6" (instance $network
    (export "network" (type (sub resource)))
    (type $code' (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $code')))
    (type $family' (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family')))))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.6" (instance $tcp
    (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.6" (instance $create
    (alias outer 1 $code (type $code-outer))
    (export "error-code" (type $code-inner (eq $code-outer)))
    (alias outer 1 $family (type $family-outer))
    (export "ip-address-family" (type $family-inner (eq $family-outer)))
    (alias outer 1 $socket (type $socket-outer))
    (export "tcp-socket" (type $socket-inner (eq $socket-outer)))
    (export "create-tcp-socket" (func (param "address-family" $family-inner)
      (result (result (own $socket-inner) (error $code-inner)))))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (alias export $calls "send" (func $send))
  (alias export $calls "log" (func $log))
  (alias export $calls "turn" (type $turn))
  (core func $send' (canon lower (func $send) (memory (core memory $memory "memory"))))
  (core func $log' (canon lower (func $log) (memory (core memory $memory "memory"))))
  (alias export $create "create-tcp-socket" (func $create-tcp-socket))
  (core func $create' (canon lower (func $create-tcp-socket) (memory (core memory $memory "memory"))))
  (core module $worker
    (import "memory" "memory" (memory 0))
    (import "calls" "send" (func $send (param i32 i32)))
    (import "calls" "log" (func $log (param i32 i32 i32)))
    (import "sockets" "create" (func $create (param i32 i32)))
    (func (export "handle") (param $at i32) (param $length i32)
      (call $create (i32.const 0) (i32.const 16))
      (if (i32.eqz (i32.load8_u (i32.const 16))) (then unreachable))))
  (core instance $worker (instantiate $worker
    (with "memory" (instance $memory))
    (with "calls" (instance (export "send" (func $send')) (export "log" (func $log'))))
    (with "sockets" (instance (export "create" (func $create'))))
))
  (func $handle (param "message" (list u8))
    (canon lift (core func $worker "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "handle-msg" (func $handle))
)
