// Package calendar finds instants by the calendar of a time zone: the window of
// a day, week, month or year that an instant lies in, and the instants of a
// [Series], such as the 31st of every month at nine.
//
// A wall-clock time means the first instant at which the clocks of the zone show
// it or a later one. So a time that the zone skips is the end of the gap, of one
// that comes twice the first counts, and a later wall-clock time is never an
// earlier instant. Two can be the same instant where a zone skips a whole day, as
// Pacific/Apia did on 30 December 2011.
package calendar
