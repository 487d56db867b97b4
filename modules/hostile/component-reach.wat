;; attack: a component looks for variables, arguments and folders, and traps if it finds any
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
  (import "wasi:cli/environment@0.2.6" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:filesystem/types@0.2.6" (instance $files
    (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $inner (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $inner) string)))))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (alias export $calls "send" (func $send))
  (alias export $calls "log" (func $log))
  (alias export $calls "turn" (type $turn))
  (core func $send' (canon lower (func $send) (memory (core memory $memory "memory"))))
  (core func $log' (canon lower (func $log) (memory (core memory $memory "memory"))))
  (alias export $environment "get-environment" (func $get-environment))
  (core func $get-environment' (canon lower (func $get-environment) (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (alias export $environment "get-arguments" (func $get-arguments))
  (core func $get-arguments' (canon lower (func $get-arguments) (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (alias export $preopens "get-directories" (func $get-directories))
  (core func $get-directories' (canon lower (func $get-directories) (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $worker
    (import "memory" "memory" (memory 0))
    (import "calls" "send" (func $send (param i32 i32)))
    (import "calls" "log" (func $log (param i32 i32 i32)))
    (import "reach" "environment" (func $environment (param i32)))
    (import "reach" "arguments" (func $arguments (param i32)))
    (import "reach" "directories" (func $directories (param i32)))
    (func (export "handle") (param $at i32) (param $length i32)
      (call $environment (i32.const 16))
      (call $arguments (i32.const 24))
      (call $directories (i32.const 32))
      (if (i32.or (i32.load (i32.const 20)) (i32.or (i32.load (i32.const 28)) (i32.load (i32.const 36))))
        (then unreachable))))
  (core instance $worker (instantiate $worker
    (with "memory" (instance $memory))
    (with "calls" (instance (export "send" (func $send')) (export "log" (func $log'))))
    (with "reach" (instance
      (export "environment" (func $get-environment'))
      (export "arguments" (func $get-arguments'))
      (export "directories" (func $get-directories'))))
))
  (func $handle (param "message" (list u8))
    (canon lift (core func $worker "handle") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "handle-msg" (func $handle))
)
