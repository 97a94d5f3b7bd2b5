package proof_test
import _ "github.com/anishathalye/porcupine"
