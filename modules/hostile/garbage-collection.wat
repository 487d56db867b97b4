;; attack: objects are made on a heap that is not there
;; when: upload
;; ends: rejected
(module
  (type $s (struct (field i32)))
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    (drop (struct.new $s (i32.const 1))))
)
