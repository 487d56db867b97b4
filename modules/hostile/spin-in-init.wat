;; attack: `init` never returns
;; when: init
;; ends: time-limit
(module
  (memory (export "memory") 1)
  (func (export "handle_msg") (param $len i32)
    )
  (func (export "init") (param i32) (loop $l (br $l)))
)
