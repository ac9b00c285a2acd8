package envelope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// Section 5: thirty codes, six of them retryable.
func Test_5_Codes(t *testing.T) {
	require.Len(t, Codes(), 30)
	retryable := map[Code]bool{
		"DEADLINE_EXCEEDED": true, "RESOURCE_EXHAUSTED": true, "ABORTED": true, "INTERNAL": true, "UNAVAILABLE": true,
	}
	for _, code := range Codes() {
		got, err := ParseCode(string(code))
		require.NoError(t, err)
		require.Equal(t, code, got)
		require.Equal(t, retryable[code], code.Retryable(), code)
	}
	require.False(t, Code("NO_SUCH").Retryable())
}

// Section 5: aliases are read and not written; EX-4: nothing else is read.
func Test_EX_4_AliasesAndUnknownCodes(t *testing.T) {
	for alias, want := range map[string]Code{"RATE_LIMITED": CodeResourceExhausted, "INTERNAL_ERROR": CodeInternal} {
		e := &Envelope{Type: TypeNack, Payload: json.RawMessage(`{"code":"` + alias + `","message":"m"}`)}
		nack, err := DecodePayload[Nack](e)
		require.NoError(t, err)
		require.Equal(t, want, nack.Code)
	}
	for _, bad := range []string{"", "ok", "not_found", "NOT FOUND", "arcpx.acme.v1.FULL"} {
		_, err := ParseCode(bad)
		require.Error(t, err, bad)
	}
}

// A peer of the 2.0 vocabulary is sent none of the six codes that came later.
func TestVocabulary(t *testing.T) {
	want := map[Code]Code{
		CodeInvalidRequest: CodeInvalidArgument, CodeDuplicateKey: CodeFailedPrecondition,
		CodeAgentNotAvailable: CodeNotFound, CodeJobNotFound: CodeNotFound,
		CodeTimeout: CodeDeadlineExceeded, CodeResumeWindowExpired: CodeDataLoss,
	}
	for _, code := range Codes() {
		expected, later := want[code]
		if !later {
			expected = code
		}
		require.Equal(t, expected, Vocabulary20.Code(code))
		require.Equal(t, expected, Vocabulary("").Code(code))
		require.Equal(t, code, Vocabulary11.Code(code))
		require.NotContains(t, want, Vocabulary20.Code(code))
	}
	for _, name := range []string{"2.0", "1.1"} {
		v, err := ParseVocabulary(name)
		require.NoError(t, err)
		require.EqualValues(t, name, v)
	}
	_, err := ParseVocabulary("")
	require.Error(t, err)
}

func TestErrorByCode(t *testing.T) {
	err := fmt.Errorf("while reading: %w", Errorf(CodeNotFound, "no job %d: %w", 7, io.EOF))
	require.ErrorIs(t, err, &Error{Code: CodeNotFound})
	require.NotErrorIs(t, err, &Error{Code: CodeAborted})
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, CodeNotFound, CodeOf(err))

	var coded *Error
	require.ErrorAs(t, err, &coded)
	require.Equal(t, "no job 7: EOF", coded.Message)
	require.Equal(t, "NOT_FOUND: no job 7: EOF", coded.Error())
	require.Equal(t, "ABORTED", (&Error{Code: CodeAborted}).Error())
}

func TestErrorRetryable(t *testing.T) {
	require.True(t, (&Error{Code: CodeUnavailable}).IsRetryable())
	require.False(t, (&Error{Code: CodeUnavailable, Retryable: new(false)}).IsRetryable())
	require.True(t, (&Error{Code: CodeNotFound, Retryable: new(true)}).IsRetryable())
}

func TestCodeOf(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, CodeOK}, {ctx.Err(), CodeCancelled}, {context.DeadlineExceeded, CodeDeadlineExceeded},
		{errors.New("x"), CodeInternal}, {&DecodeError{Code: CodeUnimplemented}, CodeUnimplemented},
		{Errorf(CodeAborted, "gave up: %w", context.Canceled), CodeAborted},
	} {
		require.Equal(t, c.want, CodeOf(c.err))
	}
}

func TestDecodeErrorText(t *testing.T) {
	fault := &DecodeError{Member: "payload.tool", Reason: "is missing", Code: CodeInvalidArgument}
	require.Equal(t, "envelope: payload.tool: is missing", fault.Error())
	require.Equal(t, "payload.tool: is missing", fault.Answer().Message)
	require.Equal(t, CodeInvalidArgument, fault.Answer().Code)
	fault.Member = ""
	require.Equal(t, "envelope: is missing", fault.Error())
	require.Equal(t, "is missing", fault.Answer().Message)
}
