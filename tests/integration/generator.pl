#!/usr/bin/perl
# A load generator for Volley: the open loop over HTTP/1.1, one request without a body, for servers
# that answer with Content-Length and keep connections alive. Times are in us after T0.
use v5.36;
use IO::Select;
use IO::Socket::IP;
use JSON::PP;
use List::Util qw(min);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_REALTIME);

$| = 1;
my $task = decode_json(scalar <STDIN>);
my ($request, @others) = $task->{requests}->@*;
my ($host, $port, $path) = $request->{url} =~ m{^http://(\[.+?\]|[^/:?]+):?(\d*)/?([^#]*)};
die "Only an open loop of one http:// request without body, timeout or count is supported.\n"
    if !$host || @others || $task->{version} != 1 || $request->{method} eq 'HEAD'
    || "@$task{qw(model protocol)}" ne 'open http1'
    || grep { defined } $request->{body}, @$task{qw(timeout_us count)};
my ($error, @addresses) = Socket::getaddrinfo($host =~ s/[][]//gr, $port || 80, {socktype => 1});
die "The name $host cannot be resolved: $error.\n" if $error;
my @headers = map { "$_->[0]: $_->[1]" } $request->{headers}->@*;
unshift @headers, "Host: $host" . ($port && ":$port") if !grep { /^host:/i } @headers;
utf8::encode(my $message = join "\r\n", "$request->{method} /$path HTTP/1.1", @headers, '', '');
open my $log, '>>', $task->{log} or die "The log cannot be opened: $!.\n";
$log->autoflush;
say 'ready';

my ($go, $t0_ns) = split ' ', <STDIN> // exit;
my $t0 = clock_gettime(CLOCK_MONOTONIC) - clock_gettime(CLOCK_REALTIME) + $t0_ns / 1e9;
my ($end, $gap, $planned, $stop) = ($task->{duration_us}, 1e6 / $task->{rate_per_s}, 0, 0);
my @names = qw(done failed timeout reset refused protocol unanswered unsent);
my %rows = map { $_ => 0 } @names;
my (@waiting, @free, %sent, %answer);  # due times, connections, [due, start] and bytes of each
my ($reading, $writing) = (IO::Select->new(\*STDIN), IO::Select->new);  # writing: not yet open
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { $stop = 1 };
srand $task->{seed};

sub now { (clock_gettime(CLOCK_MONOTONIC) - $t0) * 1e6 }

sub next_due ($last) {
    return $last - log(1 - rand) * $gap if $task->{arrivals} eq 'poisson';
    return $task->{first_due_ns} / 1e3 + $planned * $gap;
}

sub row ($status, $due, $start = undef) {
    my @wall = map { defined ? $t0_ns / 1e3 + $_ : 0 } $due, $start;
    printf $log "%d\t%d\t%d\t%d\t0\n", @wall, $status, now() - ($start // $due);
    $rows{$names[$status > 0 ? 0 : -$status]}++;
}

sub status_of ($answer) {  # undef while the answer is not complete
    my ($status) = $answer =~ m{^HTTP/1\.[01] (\d{3})};
    return length $answer < 12 && $answer !~ /\n/ ? undef : -5 if !$status;
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    return undef if !defined $body;
    my $length = $status =~ /[23]04/ ? 0 : ($head =~ /^content-length: *(\d+)/mi)[0] // return -5;
    return length $body < $length ? undef : length $body > $length ? -5 : $status;
}

my $due = next_due(0);
while (1) {
    my $now = now();
    for (; $due <= $now && $due < $end; $due = next_due($due)) {
        push @waiting, $due;
        $planned++;
    }
    last if $stop || $now >= $end;
    while (@waiting) {
        if (my $fh = pop @free) {
            $answer{$fh} = '';
            $sent{$fh} = [shift @waiting, now()];
            syswrite $fh, $message;  # when this fails, so does reading
        } elsif ($writing->count < @waiting
            && $writing->count + $reading->count <= $task->{clients}) {
            my $new = IO::Socket::IP->new(PeerAddrInfo => \@addresses, Blocking => 0);
            $new ? $writing->add($new) : row(-4, shift @waiting);
        } else {
            last;
        }
    }
    my $pause = min($due, $end, $now + 50_000) - now();
    my ($readable, $opened) = IO::Select->select($reading, $writing, undef, $pause / 1e6);
    for my $fh (@$opened) {
        my $connected = $fh->connect // -1;
        $writing->remove($fh) if $connected;
        $reading->add($fh) if $connected > 0;
        push @free, $fh if $connected > 0;
        row(-4, shift @waiting) if $connected < 0 && @waiting;
    }
    for my $fh (@$readable) {
        my $count = sysread $fh, $answer{$fh}, 65536, length($answer{$fh} // '');
        if ($fh == \*STDIN) {
            $stop ||= !$count;
            next;
        }
        my $status = $count && $sent{$fh} ? status_of($answer{$fh}) // next : -3;
        row($status, delete($sent{$fh})->@*) if $sent{$fh};
        @free = grep { $_ != $fh } @free;
        if ($status > 0 && $answer{$fh} !~ /^connection: *close/mi) {
            push @free, $fh;
        } else {
            $reading->remove($fh);
            close $fh;
        }
    }
}
row(-6, @$_) for values %sent;
row(-7, $_) for @waiting;
my $done = delete $rows{done};
my $sent = $planned - $rows{refused} - $rows{unsent};
say encode_json({planned => $planned, sent => $sent, done => $done, failed => \%rows});
