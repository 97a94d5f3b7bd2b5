package pgstore

import (
	"encoding/json"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// maxPayload is what one notification can carry: PostgreSQL refuses 8000 bytes.
const maxPayload = 7999

// channel is where notices are sent.
func (db *DB) channel() string { return db.schema + ":keys" }

// payloads returns notices as the texts of notifications, as few as hold them: a
// JSON array of handles and owners in turn.
func payloads(notices []apikey.Notice) ([]string, error) {
	all := []string{}
	var text []byte
	for _, n := range notices {
		if !storable(n.Handle) || !storable(n.Owner) {
			return nil, errUnstorable // JSON would quietly replace what is not UTF-8
		}
		pair, err := json.Marshal([2]string{n.Handle, n.Owner})
		if err != nil {
			return nil, err
		}
		if len(pair) > maxPayload {
			return nil, &errors.Error{Code: errors.Invalid, Msg: "a handle or an owner is too long for a notification; give at most 255 bytes"}
		}
		switch inner := pair[1 : len(pair)-1]; {
		case text == nil:
			text = append(append(text, '['), inner...)
		case len(text)+1+len(inner)+1 <= maxPayload:
			text = append(append(text, ','), inner...)
		default:
			all = append(all, string(append(text, ']')))
			text = append([]byte{'['}, inner...)
		}
	}
	if text != nil {
		all = append(all, string(append(text, ']')))
	}
	return all, nil
}

// noticesOf returns what payloads put into one text.
func noticesOf(payload string) ([]apikey.Notice, error) {
	var texts []string
	err := json.Unmarshal([]byte(payload), &texts)
	if err == nil && len(texts)%2 != 0 {
		err = errors.New("a handle has no owner beside it")
	}
	if err != nil {
		return nil, &errors.Error{Code: errors.Corrupt, Msg: "a notification cannot be read", Err: err}
	}
	notices := make([]apikey.Notice, 0, len(texts)/2)
	for i := 0; i < len(texts); i += 2 {
		notices = append(notices, apikey.Notice{Handle: texts[i], Owner: texts[i+1]})
	}
	return notices, nil
}
