;; attack: the name of a function unfolds in a demangler, to 274 MB
;; when: message
;; ends: trap
(module
  (memory (export "memory") 1)
  (func $_Z1f1AI1BES_IS1_S1_S1_S1_S1_S1_S1_S1_ES_IS2_S2_S2_S2_S2_S2_S2_S2_ES_IS3_S3_S3_S3_S3_S3_S3_S3_ES_IS4_S4_S4_S4_S4_S4_S4_S4_ES_IS5_S5_S5_S5_S5_S5_S5_S5_ES_IS6_S6_S6_S6_S6_S6_S6_S6_ES_IS7_S7_S7_S7_S7_S7_S7_S7_ES_IS8_S8_S8_S8_S8_S8_S8_S8_E
    unreachable)
  (func (export "handle_msg") (param $len i32)
    (call $_Z1f1AI1BES_IS1_S1_S1_S1_S1_S1_S1_S1_ES_IS2_S2_S2_S2_S2_S2_S2_S2_ES_IS3_S3_S3_S3_S3_S3_S3_S3_ES_IS4_S4_S4_S4_S4_S4_S4_S4_ES_IS5_S5_S5_S5_S5_S5_S5_S5_ES_IS6_S6_S6_S6_S6_S6_S6_S6_ES_IS7_S7_S7_S7_S7_S7_S7_S7_ES_IS8_S8_S8_S8_S8_S8_S8_S8_E))
)
