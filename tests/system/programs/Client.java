import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.Stream;

/** Prints what `/longpoll` (one poll after the other) or `/stream` sends, until the channel ends. */
class Client {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("poll")) {
            poll(arguments[1]);
        } else {
            stream(arguments[1]);
        }
    }

    private static HttpRequest get(String address) {
        return HttpRequest.newBuilder(URI.create(address)).build();
    }

    private static void poll(String address) throws Exception {
        String since = "";
        while (true) {
            // The first poll returns at once, with the cursor of the present.
            String query = "?format=raw" + (since.isEmpty() ? "&timeout=0" : "&since=" + since);
            HttpResponse<String> response = CLIENT.send(get(address + query), BodyHandlers.ofString());
            System.out.println(response.statusCode() == 200 ? response.body() : "nothing");
            if (response.headers().firstValue("Pushd-End").isPresent()) {
                return;
            }
            since = response.headers().firstValue("Pushd-Cursor").get();
        }
    }

    private static void stream(String address) throws Exception {
        try (Stream<String> lines = CLIENT.send(get(address), BodyHandlers.ofLines()).body()) {
            lines.forEach(System.out::println);
        }
    }
}
